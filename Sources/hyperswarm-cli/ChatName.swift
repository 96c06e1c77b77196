import ArgumentParser
import HyperDHT
import Synchronization

/// What a member of a chat calls itself. It goes to the others in a datagram beside the stream, which peers of another
/// make do not look at: 15 bytes `hyperswarm-chat`, 1 byte version = 1, and the name in UTF-8. Names prove nothing, and
/// several may have the same: the beginning of the key stands beside them.
struct ChatName: ExpressibleByArgument, Sendable {
  private static let mark = Array("hyperswarm-chat".utf8) + [1]
  /// Bytes.
  private static let longest = 64
  /// A datagram may be lost: when it is sent again.
  private static let repetitions: [Duration] = [.zero, .milliseconds(300), .seconds(1), .seconds(3)]

  let text: String

  init?(argument: String) { self.init(Array(argument.utf8)) }

  /// Of a stranger: it must not steer the terminal, nor pass for something else by blanks.
  private init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count <= ChatName.longest, let read = String(validating: bytes, as: UTF8.self) else { return nil }
    let text = Join.printable(read).trimmingWhitespace
    guard !text.isEmpty else { return nil }
    self.text = text
  }

  /// `nil` for a datagram that is none.
  init?(datagram: [UInt8]) {
    guard datagram.starts(with: ChatName.mark) else { return nil }
    self.init(datagram.dropFirst(ChatName.mark.count))
  }

  /// Tells the peer, until the task is cancelled.
  func tell(_ connection: HyperDHT.Connection) async {
    for pause in ChatName.repetitions {
      guard (try? await Task.sleep(for: pause)) != nil else { return }
      await connection.sendDatagram(ChatName.mark + text.utf8)
    }
  }
}

extension String {
  fileprivate var trimmingWhitespace: String {
    let head = drop { $0.isWhitespace }
    return String(head.reversed().drop { $0.isWhitespace }.reversed())
  }
}
