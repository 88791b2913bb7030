"""Recommenders, one file per paper. `METHODS` maps command-line names to classes, unimported."""

METHODS: dict[str, str] = {
    "popularity": "recsys.methods.popularity:Popularity",
    "itemknn": "recsys.methods.itemknn:ItemKNN",
    "ease": "recsys.methods.ease:EASE",
    "bpr": "recsys.methods.bpr:BPRMF",
    "directau": "recsys.methods.directau:DirectAU",
    "lightgcn": "recsys.methods.lightgcn:LightGCN",
    "sgl": "recsys.methods.sgl:SGL",
    "simgcl": "recsys.methods.simgcl:SimGCL",
    "xsimgcl": "recsys.methods.xsimgcl:XSimGCL",
    "ncl": "recsys.methods.ncl:NCL",
    "hccf": "recsys.methods.hccf:HCCF",
    "lightgcl": "recsys.methods.lightgcl:LightGCL",
    "dccf": "recsys.methods.dccf:DCCF",
    "mmhcl": "recsys.methods.mmhcl:MMHCL",
    "semantic-item-graph": "recsys.methods.semantic_item_graph:SemanticItemGraph",
    "featurecl": "recsys.methods.featurecl:FeatureCL",
    "sasrec": "recsys.methods.sasrec:SASRec",
    "gru4rec": "recsys.methods.gru4rec:GRU4Rec",
    "bert4rec": "recsys.methods.bert4rec:BERT4Rec",
    "cl4srec": "recsys.methods.cl4srec:CL4SRec",
    "coserec": "recsys.methods.coserec:CoSeRec",
    "duorec": "recsys.methods.duorec:DuoRec",
    "iclrec": "recsys.methods.iclrec:ICLRec",
    "icsrec": "recsys.methods.icsrec:ICSRec",
    "mclrec": "recsys.methods.mclrec:MCLRec",
    "sracl": "recsys.methods.sracl:SRACL",
}

__all__ = ["METHODS"]
