import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// When requests of a connect carry the token of the node that is asked, and which.
final class RelayTokensTests: XCTestCase {
  private var net: Net!
  private var node: DHTNode!
  private var relay: Endpoint!
  private let target = Bytes32(repeating: 5)

  override func setUp() {
    net = Net(3)
    node = net.makeNode()
    relay = net.nodes[1].rpc.host.map { Endpoint(host: $0, port: net.nodes[1].rpc.port) }
    XCTAssertNotNil(relay)
    net.network.isLogging = true
    net.network.log = []
  }

  override func tearDown() {
    net.network.isLogging = false
    net.destroy()
    node = nil
    net = nil
  }

  private var message: RequestMessage { RequestMessage(command: Command.findPeer.rawValue, target: target) }

  /// What was sent to the node for the target, in order.
  private var sent: [Datagrams.Request] {
    net.network.log.filter { $0.destination == relay }.compactMap { Datagrams.request($0.bytes) }
      .filter { $0.target == target }
  }

  private func ask(_ tokens: RelayTokens) -> Response? {
    let result: Result<Response, RPCError>? = net.settle {
      tokens.request(message, to: relay, options: RequestOptions(), $0)
    }
    return try? result?.get()
  }

  private func dropFirst(_ count: Int) {
    var left = count
    net.network.shouldDrop = { [relay] packet in
      guard packet.destination == relay, left > 0 else { return false }
      left -= 1
      return true
    }
  }

  func testARequestThatIsAnsweredInTimeCarriesNone() {
    let tokens = RelayTokens(node: node)
    let token = ask(tokens)?.token
    XCTAssertNotNil(token)
    tokens.learn(token, of: relay)
    XCTAssertEqual(ask(tokens)?.error, 0)
    XCTAssertEqual(sent.map(\.token), [nil, nil])
  }

  /// From the second transmission on, and in the requests that follow.
  func testARequestThatIsNotAnsweredInTimeCarriesTheToken() {
    let tokens = RelayTokens(node: node)
    let token = ask(tokens)?.token
    tokens.learn(token, of: relay)
    net.network.log = []
    dropFirst(1)
    XCTAssertEqual(ask(tokens)?.error, 0)
    XCTAssertEqual(ask(tokens)?.error, 0)
    XCTAssertEqual(sent.map(\.token), [nil, token, token])
    XCTAssertEqual(sent[0].tid, sent[1].tid)
  }

  /// A token that has become too old is replaced by the fresh one of the answer, once.
  func testARefusedTokenIsReplaced() {
    let tokens = RelayTokens(node: node)
    let stale = Bytes32(repeating: 1)
    tokens.learn(stale, of: relay)
    dropFirst(1)
    let response = ask(tokens)
    XCTAssertEqual(response?.error, 0)
    XCTAssertEqual(sent.count, 3)
    XCTAssertEqual(sent.prefix(2).map(\.token), [nil, stale])
    XCTAssertEqual(sent.last?.token, response?.token)
    net.network.log = []
    tokens.learn(stale, of: relay)
    let result: Result<Response, RPCError>? = net.settle {
      tokens.request(message, to: relay, options: RequestOptions(), mayRepeat: false, $0)
    }
    XCTAssertEqual(try? result?.get().error, RPCErrorCode.invalidToken)
    XCTAssertEqual(sent.count, 1)
  }

  func testTokensAreBounded() {
    let tokens = RelayTokens(node: node)
    for number in 0..<Limits.Connect.candidates {
      tokens.learn(Bytes32(repeating: 2), of: Endpoint(host: IPv4Address(9, 1, 1, UInt8(number)), port: 1))
    }
    tokens.learn(Bytes32(repeating: 3), of: relay)
    dropFirst(1)
    XCTAssertEqual(ask(tokens)?.error, 0)
    XCTAssertEqual(sent.map(\.token), [nil, nil])
  }
}
