"""Graph methods, one file per paper."""

METHODS = {
    "adameow": "graphcl.methods.adameow:AdaMEOW",
    "bgrl": "graphcl.methods.bgrl:BGRL",
    "cca-ssg": "graphcl.methods.cca_ssg:CCASSGMethod",
    "csgcl": "graphcl.methods.csgcl:CSGCL",
    "dgi": "graphcl.methods.dgi:DGI",
    "gca": "graphcl.methods.gca:GCA",
    "ggd": "graphcl.methods.ggd:GGD",
    "grace": "graphcl.methods.grace:GRACE",
    "meow": "graphcl.methods.meow:MEOW",
    "mvgrl": "graphcl.methods.mvgrl:MVGRL",
    "random-encoder": "graphcl.methods.baselines:RandomEncoder",
    "raw-features": "graphcl.methods.baselines:RawFeatures",
}
"""Command-line name -> `module:Class`, as strings so that listing imports nothing."""
