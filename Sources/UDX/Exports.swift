// The types of the layers below that appear in the public interface, and nothing else of them: docs/public-api.md has
// the reason of each.
@_exported import struct HyperEncoding.Endpoint
@_exported import enum HyperEncoding.IPAddress
@_exported import struct HyperEncoding.IPv4Address
@_exported import struct HyperEncoding.IPv6Address
@_exported import class HyperEnvironment.OwnedBuffer
@_exported import struct HyperEnvironment.TransportError
@_exported import struct HyperEnvironment.TransportStatistics
@_exported import enum HyperEnvironment.TransportStreamError
@_exported import struct HyperRuntime.EventLoopError
@_exported import class HyperRuntime.UVEventLoop
