import HyperCrypto
import HyperEncoding
import HyperEnvironment

// Which packets are the peer's: the id of a transport stream is no secret, a frame that decrypts is (udx.md 10.1).
extension EncryptedStream {
  /// Lets the transport ask, from when the keys exist.
  package func checkSources() {
    checksSources = true
    guard keys != nil, isLive else { return }
    transport?.judgesSource = { [weak self] in self?.judge($0) ?? .undecided }
    transport?.judgesMessage = { [weak self] in self?.isPathProof($0) ?? false }
    transport?.onPeerMoved = { [weak self] in self?.pathChanged(to: $0) }
  }

  /// Shows that this side is where the message comes from, with nothing on the stream. Only peers of this
  /// implementation know it. As unreliable as any message.
  package func sendPathProof() {
    guard isLive, let keys else { return }
    transport?.sendMessage(keys.pathProof.bytes)
  }

  func isPathProof(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard isLive, let keys, bytes.count == Bytes32.count, let proof = Bytes32(bytes) else { return false }
    return constantTimeEqual(proof, keys.remotePathProof)
  }

  /// Whether the pieces, from somewhere else than the bytes before them, go on with the header or the frame that comes
  /// next. Whole frames that wait for a reader come before it, so nothing can be told until they are taken.
  func judge(_ pieces: [UnsafeRawBufferPointer]) -> SourceVerdict {
    guard isLive, !isProcessing, let kept = reader.kept else { return .undecided }
    switch phase {
    case .keyed:
      guard let keys else { return .undecided }
      return StreamOpening.judge(pieces, after: kept, keys: keys)
    case .receiving:
      let bounds = Limits.Stream.messageOverhead...max(maximumFrame, Limits.Stream.messageOverhead)
      return NextFrame.judge(pieces, after: kept, bounds: bounds) { opener?.wouldOpen($0) ?? false }
    case .created, .handshaking, .destroying, .closed: return .undecided
    }
  }
}

extension StreamOpening {
  /// The same for a stream that is not made yet, of which `head` has arrived.
  package static func judge(
    _ pieces: [UnsafeRawBufferPointer], after head: UnsafeRawBufferPointer, keys: SessionKeys
  ) -> SourceVerdict {
    let length = Limits.Stream.headerBody
    return NextFrame.judge(pieces, after: head, bounds: length...length) { body in
      guard let id = Bytes32(UnsafeRawBufferPointer(rebasing: body[..<32])) else { return false }
      return constantTimeEqual(id, keys.streamID(ofInitiator: !keys.isInitiator))
    }
  }
}

/// The frame that begins in `kept` and goes on in pieces that are not taken yet.
private enum NextFrame {
  /// - Parameter isValid: gets a copy of the body, which it may overwrite.
  static func judge(
    _ pieces: [UnsafeRawBufferPointer], after kept: UnsafeRawBufferPointer, bounds: ClosedRange<Int>,
    isValid: (UnsafeMutableRawBufferPointer) -> Bool
  ) -> SourceVerdict {
    let available = pieces.reduce(kept.count) { $0 + $1.count }
    let prefix = Limits.Stream.prefixCount
    guard available >= prefix else { return .needs(prefix - kept.count) }
    let first = bytes(of: pieces, after: kept, count: prefix)
    let length = Int(first[0]) | Int(first[1]) << 8 | Int(first[2]) << 16
    guard kept.count < prefix + length else { return .undecided }
    guard bounds.contains(length) else { return .forged }
    guard length <= Limits.Stream.provingBody else { return .undecided }
    guard available >= prefix + length else { return .needs(prefix + length - kept.count) }
    var frame = bytes(of: pieces, after: kept, count: prefix + length)
    return frame.withUnsafeMutableBytes { isValid(UnsafeMutableRawBufferPointer(rebasing: $0[prefix...])) }
      ? .proven : .forged
  }

  private static func bytes(
    of pieces: [UnsafeRawBufferPointer], after kept: UnsafeRawBufferPointer, count: Int
  ) -> [UInt8] {
    var result = [UInt8]()
    result.reserveCapacity(count)
    for piece in [kept] + pieces { result.append(contentsOf: piece.prefix(count - result.count)) }
    return result
  }
}
