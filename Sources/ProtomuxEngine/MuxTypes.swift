/// What the two sides call a channel: protocol and id, as the bytes that are compared. An empty id is none.
package struct ChannelName: Hashable, Sendable {
  package let name: [UInt8]
  package let id: [UInt8]

  package init(_ name: String, id: [UInt8] = []) {
    self.name = Array(name.utf8)
    self.id = id
  }

  package init(name: [UInt8], id: [UInt8]) {
    self.name = name
    self.id = id
  }

  /// The protocol as text.
  package var text: String { String(decoding: name, as: UTF8.self) }

  /// The same protocol without an id.
  var anyID: ChannelName { ChannelName(name: name, id: []) }

  /// Bytes that an offer of it counts.
  var cost: Int { name.count + id.count + Limits.offerCost }
}

/// What the peer has done that nothing can follow: the stream has to be destroyed.
package enum MuxViolation: Error, Hashable, Sendable {
  /// A frame that is not of the protocol.
  case malformed
  /// A channel under an id that is in use or skips ids.
  case invalidOpen
  /// A rejection of a channel that this side has not opened.
  case invalidReject
}

/// Why a call of the program was refused. Nothing was sent.
package enum MuxRefusal: Error, Hashable, Sendable {
  case closed
  /// The channel has not been opened by this side.
  case notOpened
  case duplicate
  case tooManyChannels
  case tooLarge(Int)
}

/// What happens on a multiplexed connection.
package enum MuxEvent {
  /// The peer has opened a channel of a protocol that the program has paired: `offerHandled` once it has made up its
  /// mind.
  case offer(ChannelName)
  /// Both sides have opened the channel; with the peer's handshake.
  case opened(MuxChannel, handshake: [UInt8])
  case message(MuxChannel, type: UInt64, body: [UInt8])
  /// The peer has closed the channel, or has not wanted it.
  case closed(MuxChannel, isRejected: Bool)
}

/// One channel of a `ProtomuxEngine`, and as confined as that.
package final class MuxChannel {
  package enum Stage: Sendable {
    /// The peer has not been told.
    case created
    /// The peer has been told and has not answered; messages can be sent.
    case opening
    case open
    case closed
  }

  package let name: ChannelName
  /// Other names of the same channel.
  let aliases: [ChannelName]
  package internal(set) var stage = Stage.created
  /// What the layer above has for it, which lets go of it when the channel has closed.
  package var owner: AnyObject?

  /// Of all channels that there ever were.
  let number: UInt64
  /// The name that the peer is told: the one that it has used itself, if it was first, because it may know no other.
  var answers: ChannelName
  /// 0 before `open`.
  var localID: UInt64 = 0
  /// The peer has opened it under another name than this side.
  var isMetByAlias = false
  /// 0 while the peer has not opened it.
  var remoteID: UInt64 = 0

  init(number: UInt64, name: ChannelName, aliases: [ChannelName]) {
    self.number = number
    self.name = name
    self.aliases = aliases
    answers = name
  }

  var names: [ChannelName] { [name] + aliases }
}
