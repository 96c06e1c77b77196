// The types of the layers below that appear in the public interface, and nothing else of them: docs/public-api.md has
// the reason of each.
@_exported import struct HyperCrypto.KeyPair
@_exported import enum HyperDHTEngine.DHTError
@_exported import enum HyperDHTEngine.KeyText
@_exported import struct HyperDHTEngine.StreamFailure
@_exported import struct HyperEncoding.Bytes32
@_exported import struct HyperEncoding.Bytes64
@_exported import struct HyperEncoding.Endpoint
@_exported import enum HyperEncoding.Hex
@_exported import struct HyperEncoding.IPv4Address
@_exported import struct HyperRuntime.EventLoopError
@_exported import class HyperRuntime.UVEventLoop
@_exported import enum HyperUDX.UDXCongestionControl
@_exported import class HyperUDX.UDXConnection
@_exported import enum HyperUDX.UDXConnectionError
@_exported import struct HyperUDX.UDXStreamOptions
