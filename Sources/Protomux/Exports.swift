// Connections, and the errors and keys that come with them.
@_exported import HyperDHT
