"""Graph methods, one file per paper."""

METHODS = {
    "csgcl": "graphcl.methods.csgcl:CSGCL",
    "grace": "graphcl.methods.grace:GRACE",
    "random-encoder": "graphcl.methods.baselines:RandomEncoder",
    "raw-features": "graphcl.methods.baselines:RawFeatures",
}
"""Command-line name -> `module:Class`, as strings so that listing imports nothing."""
