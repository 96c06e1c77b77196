import Foundation
import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperDHTEngine

typealias JSON = [String: Any]

/// Typed access to the values of a vector case. Missing or mistyped fields throw: a case must not pass by being empty.
struct Fields {
  let json: JSON
  let id: String

  init(_ json: JSON, id: String? = nil) {
    self.json = json
    self.id = id ?? json["id"] as? String ?? "?"
  }

  struct Bad: Error, CustomStringConvertible {
    let description: String
  }

  private func bad(_ key: String) -> Bad { Bad(description: "\(id): field \(key) is missing or mistyped") }

  func string(_ key: String) throws -> String {
    guard let value = json[key] as? String else { throw bad(key) }
    return value
  }

  func has(_ key: String) -> Bool { json[key] != nil && !(json[key] is NSNull) }

  func bytes(_ key: String) throws -> [UInt8] { Vectors.bytes(try string(key)) }
  func optionalBytes(_ key: String) throws -> [UInt8]? { has(key) ? try bytes(key) : nil }

  func bytes32(_ key: String) throws -> Bytes32 {
    guard let value = Bytes32(try bytes(key)) else { throw bad(key) }
    return value
  }

  func optionalBytes32(_ key: String) throws -> Bytes32? { has(key) ? try bytes32(key) : nil }

  func bytes64(_ key: String) throws -> Bytes64 {
    guard let value = Bytes64(try bytes(key)) else { throw bad(key) }
    return value
  }

  func optionalBytes64(_ key: String) throws -> Bytes64? { has(key) ? try bytes64(key) : nil }

  func uint(_ key: String) throws -> UInt64 {
    guard let value = json[key] as? NSNumber, value.int64Value >= 0 else { throw bad(key) }
    return value.uint64Value
  }

  func bool(_ key: String) throws -> Bool {
    guard let value = json[key] as? Bool else { throw bad(key) }
    return value
  }

  func object(_ key: String) throws -> Fields {
    guard let value = json[key] as? JSON else { throw bad(key) }
    return Fields(value, id: id)
  }

  func optionalObject(_ key: String) throws -> Fields? { has(key) ? try object(key) : nil }

  func objects(_ key: String) throws -> [Fields] {
    guard let value = json[key] as? [JSON] else { throw bad(key) }
    return value.map { Fields($0, id: id) }
  }

  func strings(_ key: String) throws -> [String] {
    guard let value = json[key] as? [String] else { throw bad(key) }
    return value
  }

  func endpoint() throws -> Endpoint {
    guard let host = IPv4Address(try string("host")) else { throw bad("host") }
    return Endpoint(host: host, port: UInt16(try uint("port")))
  }

  func endpoint(_ key: String) throws -> Endpoint { try object(key).endpoint() }
  func optionalEndpoint(_ key: String) throws -> Endpoint? { try optionalObject(key)?.endpoint() }
  func endpoints(_ key: String) throws -> [Endpoint] { try objects(key).map { try $0.endpoint() } }
  func optionalEndpoints(_ key: String) throws -> [Endpoint]? { has(key) ? try endpoints(key) : nil }

  func endpoints6(_ key: String) throws -> [IPv6Endpoint] {
    try objects(key).map {
      guard let host = IPv6Address(try $0.string("host")) else { throw bad(key) }
      return IPv6Endpoint(host: host, port: UInt16(try $0.uint("port")))
    }
  }
}

/// Builds messages from the `fields` or `decoded` of vector cases.
extension Fields {
  func handshake() throws -> HandshakeMessage {
    HandshakeMessage(
      mode: RoutingMode(rawValue: try uint("mode")), noise: try bytes("noise"),
      peerAddress: try optionalEndpoint("peerAddress"), relayAddress: try optionalEndpoint("relayAddress"))
  }

  func holepunch() throws -> HolepunchMessage {
    HolepunchMessage(
      mode: RoutingMode(rawValue: try uint("mode")), id: try uint("id"), payload: try bytes("payload"),
      peerAddress: try optionalEndpoint("peerAddress"))
  }

  func noisePayload() throws -> NoisePayload {
    NoisePayload(
      version: try uint("version"), error: PayloadError(rawValue: try uint("error")),
      firewall: Firewall(rawValue: try uint("firewall")),
      holepunch: try optionalObject("holepunch").map { info in
        NoisePayload.HolepunchInfo(
          id: try info.uint("id"),
          relays: try info.objects("relays").map {
            NoisePayload.Relay(
              relayAddress: try $0.endpoint("relayAddress"), peerAddress: try $0.endpoint("peerAddress"))
          })
      },
      addresses4: try endpoints("addresses4"), addresses6: try endpoints6("addresses6"),
      udx: try optionalObject("udx").map {
        NoisePayload.UDXInfo(
          version: try $0.uint("version"), reusableSocket: try $0.bool("reusableSocket"), id: UInt32(try $0.uint("id")),
          seq: try $0.uint("seq"))
      },
      secretStream: try optionalObject("secretStream").map {
        NoisePayload.SecretStreamInfo(version: try $0.uint("version"))
      },
      relayThrough: try optionalObject("relayThrough").map {
        NoisePayload.RelayThroughInfo(
          version: try $0.uint("version"), publicKey: try $0.bytes32("publicKey"), token: try $0.bytes32("token"))
      },
      relayAddresses: try optionalEndpoints("relayAddresses"))
  }

  func holepunchPayload() throws -> HolepunchPayload {
    HolepunchPayload(
      error: PayloadError(rawValue: try uint("error")), firewall: Firewall(rawValue: try uint("firewall")),
      round: try uint("round"), connected: try bool("connected"), punching: try bool("punching"),
      addresses: try optionalEndpoints("addresses"), remoteAddress: try optionalEndpoint("remoteAddress"),
      token: try optionalBytes32("token"), remoteToken: try optionalBytes32("remoteToken"))
  }

  func peer() throws -> PeerRecord {
    PeerRecord(publicKey: try bytes32("publicKey"), relayAddresses: try endpoints("relayAddresses"))
  }

  func lookupReply() throws -> LookupReply {
    LookupReply(peers: try objects("peers").map { try $0.peer() }, bump: try uint("bump"))
  }

  func announce() throws -> AnnounceMessage {
    AnnounceMessage(
      peer: try optionalObject("peer")?.peer(), refresh: try optionalBytes32("refresh"),
      signature: try optionalBytes64("signature"), bump: try uint("bump"))
  }

  func mutableSignable() throws -> MutableSignable {
    MutableSignable(seq: try uint("seq"), value: try bytes("value"))
  }

  func mutablePut() throws -> MutablePutRequest {
    MutablePutRequest(
      publicKey: try bytes32("publicKey"), seq: try uint("seq"), value: try bytes("value"),
      signature: try bytes64("signature"))
  }

  func mutableGet() throws -> MutableGetResponse {
    MutableGetResponse(seq: try uint("seq"), value: try bytes("value"), signature: try bytes64("signature"))
  }

  func pluginRequest() throws -> PluginRequest {
    PluginRequest(
      plugin: try string("plugin"), version: try uint("version"), command: try uint("command"),
      value: try optionalBytes("value"))
  }

  func relayPair() throws -> RelayPairMessage {
    RelayPairMessage(
      isInitiator: try bool("isInitiator"), token: try bytes32("token"), id: try uint("id"), seq: try uint("seq"))
  }

  func relayUnpair() throws -> RelayUnpairMessage { RelayUnpairMessage(token: try bytes32("token")) }
}
