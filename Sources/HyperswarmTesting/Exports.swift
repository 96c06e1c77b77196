// The types of the layers below that appear in the public interface, and nothing else of them.
@_exported import struct HyperCrypto.KeyPair
@_exported import struct HyperEncoding.Bytes32
@_exported import struct HyperEncoding.Endpoint
@_exported import struct HyperEncoding.IPv4Address
