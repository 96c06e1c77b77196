import HyperCrypto
import HyperEncoding
import HyperRPC

// Values: hyperdht.md 12.6 and 12.7.

extension StorageNode {
  func mutablePut(_ request: IncomingRequest) {
    guard let target = request.target, request.token != nil, let bytes = request.value,
      let message = try? CompactReader.decode(MutablePutRequest.self, from: bytes)
    else { return drop(\.malformed) }
    guard message.value.count <= configuration.maximumValue else { return drop(\.refused) }
    let signable = Signables.mutable(seq: message.seq, value: message.value)
    guard target == Target.of(publicKey: message.publicKey),
      Ed25519.verify(message.signature, signable, publicKey: message.publicKey)
    else { return drop(\.unverified) }
    if let stored = mutables.peek(target, now: now) {
      if stored.seq == message.seq, stored.value != message.value {
        return request.error(StorageErrorCode.seqReused)
      }
      if stored.seq > message.seq { return request.error(StorageErrorCode.seqTooLow) }
    }
    let response = MutableGetResponse(seq: message.seq, value: message.value, signature: message.signature)
    guard mutables.set(target, response, bytes: message.value.count, host: request.from.host, now: now) else {
      return drop(\.refused)
    }
    request.reply(nil)
  }

  func mutableGet(_ request: IncomingRequest) {
    guard let target = request.target, let bytes = request.value,
      let message = try? CompactReader.decode(MutableGetRequest.self, from: bytes)
    else { return drop(\.malformed) }
    guard let stored = mutables.get(target, now: now), stored.seq >= message.seq else {
      return replyWithValue(request, nil)
    }
    replyWithValue(request, stored.encoded)
  }

  func immutablePut(_ request: IncomingRequest) {
    guard let target = request.target, request.token != nil, let value = request.value else { return drop(\.malformed) }
    guard value.count <= configuration.maximumValue else { return drop(\.refused) }
    guard target == Target.of(value: value) else { return drop(\.unverified) }
    guard immutables.set(target, value, bytes: value.count, host: request.from.host, now: now) else {
      return drop(\.refused)
    }
    request.reply(nil)
  }

  func immutableGet(_ request: IncomingRequest) {
    guard let target = request.target else { return drop(\.malformed) }
    replyWithValue(request, immutables.get(target, now: now))
  }
}
