import HyperEncoding
import HyperEnvironment

/// A user command that another node asks us to handle (dht-rpc.md 7.2).
///
/// May be answered at once or later, any number of times or never; answers after the node is suspended or destroyed are
/// dropped.
package final class IncomingRequest {
  package let tid: UInt16
  package let command: UInt64
  package let target: Bytes32?
  package let value: [UInt8]?
  /// Already verified: this IP address has recently received something from us.
  package let token: Bytes32?
  package let from: NodeAddress
  /// The source gets what is sent to it: it has answered a request of ours, or echoed a token, some time ago.
  package private(set) var isProven: Bool
  /// The requester whose forwarded request this is an answer for.
  package let answers: Endpoint?
  /// Our address as the sender knows it.
  package let to: Endpoint
  /// Where the request arrived, and where answers leave by default.
  package let socket: any DatagramSocket

  private weak var node: RPCNode?

  init(
    _ request: RequestDatagram, from: NodeAddress, isProven: Bool, answers: Endpoint?, socket: any DatagramSocket,
    node: RPCNode
  ) {
    tid = request.tid
    command = request.command
    target = request.target
    value = request.value
    token = request.token
    self.from = from
    self.isProven = isProven
    self.answers = answers
    to = request.to
    self.socket = socket
    self.node = node
  }

  /// Answers with success. `closerNodes` needs a target in the request. `to` answers another address than the
  /// sender's: the token is then made for that one.
  package func reply(
    _ value: [UInt8]?, token: Bool = true, closerNodes: Bool = true, to destination: Endpoint? = nil,
    socket: (any DatagramSocket)? = nil
  ) {
    node?.sendReply(
      tid: tid, error: RPCErrorCode.ok, value: value, includesToken: token, closestTo: closerNodes ? target : nil,
      to: destination ?? from.endpoint, on: socket ?? self.socket)
  }

  /// Answers with an error code.
  package func error(
    _ code: UInt64, token: Bool = false, closerNodes: Bool = true, to destination: Endpoint? = nil,
    socket: (any DatagramSocket)? = nil
  ) {
    node?.sendReply(
      tid: tid, error: code, value: nil, includesToken: token, closestTo: closerNodes ? target : nil,
      to: destination ?? from.endpoint, on: socket ?? self.socket)
  }

  /// The node has refused an earlier transmission of it.
  package var isRepetition: Bool {
    node?.wasRefused(RefusedRequest(source: from.endpoint, tid: tid)) ?? false
  }

  /// Asks a source that may be forged to show itself. Its answer proves it, for the requests that follow.
  package func verifySource() {
    if !isProven { node?.checkSource(from.endpoint) }
  }

  /// The same where this request is refused although it has come again: with the answer it is handled once more, as one
  /// of a source that is proven.
  package func verifyWaitingSource() {
    guard !isProven, let node else { return }
    node.checkSource(from.endpoint, isWaiting: true) { [self, weak node] in
      guard let node else { return }
      isProven = true
      if node.onRequest?(self) != true { error(RPCErrorCode.unknownCommand) }
    }
  }

  /// Sends the request on to another node with another value; fire and forget (dht-rpc.md 5.3).
  package func relay(_ value: [UInt8]?, to destination: Endpoint, socket: (any DatagramSocket)? = nil) {
    let message = RequestMessage(command: command, target: target, value: value)
    node?.sendRelay(
      tid: tid, message: message, of: from.endpoint, to: destination, on: socket ?? self.socket)
  }
}
