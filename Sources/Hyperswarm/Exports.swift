// Connections, keys and the node of a swarm are those of HyperDHT.
@_exported import HyperDHT
