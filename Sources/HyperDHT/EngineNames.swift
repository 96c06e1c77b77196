import HyperDHTEngine

// Types of the engine that share their name with a nested type of `HyperDHT`: inside the class the short name means
// the nested one, and the module cannot be named because the class has its name.
typealias PeerRecordMessage = PeerRecord
typealias TestnetEngine = Testnet
