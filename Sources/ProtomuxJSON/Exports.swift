@_exported import HyperProtomux
