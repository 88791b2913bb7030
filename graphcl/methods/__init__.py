"""Graph methods, one file per paper."""

METHODS = {
    "adameow": "graphcl.methods.adameow:AdaMEOW",
    "bgrl": "graphcl.methods.bgrl:BGRL",
    "cca-ssg": "graphcl.methods.cca_ssg:CCASSGMethod",
    "csgcl": "graphcl.methods.csgcl:CSGCL",
    "dgi": "graphcl.methods.dgi:DGI",
    "gca": "graphcl.methods.gca:GCA",
    "gcool": "graphcl.methods.gcool:GCooL",
    "ggd": "graphcl.methods.ggd:GGD",
    "grace": "graphcl.methods.grace:GRACE",
    "meow": "graphcl.methods.meow:MEOW",
    "mvgrl": "graphcl.methods.mvgrl:MVGRL",
    "pamc": "graphcl.methods.pamc:PamC",
    "pot": "graphcl.methods.pot:POT",
    "random-encoder": "graphcl.methods.baselines:RandomEncoder",
    "raw-features": "graphcl.methods.baselines:RawFeatures",
    "supervised-gcn": "graphcl.methods.supervised_gcn:SupervisedGCN",
    "two-view": "graphcl.methods.two_view:TwoView",
}
"""Command-line name -> `module:Class`, as strings so that listing imports nothing."""
