// Encrypted streams against the bare cipher, per message size, as ratios.
//
//   swift run -c release hyperswarm-benchmark-secret-stream [megabytes per run]
//
// "raw" is libsodium's secretstream alone, one buffer to another; "cipher" is the frame cipher alone, which goes
// through libcrypto where the package is built with it. "seal" is `EncryptedStream.write` over a transport
// that drops what it gets; a loop turn ends every 64 messages. "open" feeds recorded bytes: whole frames in large
// reads, and reads of 1,400 bytes as single packets would give. Runs of raw and stream alternate; the table shows
// medians.
import CHyperCipher
import CHyperSodium
import HyperCrypto
import HyperEnvironment
import HyperSecretStream

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

let megabytes = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 64 : 64
let rounds = 5

func seconds(_ body: () -> Void) -> Double {
  var start = timespec()
  var end = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start)
  body()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end)
  return Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) / 1e9
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func makeStream(_ loop: BenchmarkLoop, _ keys: SessionKeys) -> (EncryptedStream, SinkTransport) {
  let stream = EncryptedStream(environment: loop, isInitiator: keys.isInitiator)
  stream.sendsConfirmation = false
  let transport = SinkTransport()
  stream.start(transport: transport, keys: keys)
  loop.turn()
  return (stream, transport)
}

/// One message size: the times of each way, and what failed.
struct Measurement {
  let size: Int
  let count: Int
  let loop = BenchmarkLoop()
  let sendKeys: SessionKeys
  let receiveKeys: SessionKeys
  /// GB per CPU second, by name, one per round.
  var results: [String: [Double]] = [:]
  var failures = 0

  /// What the receiving side gets: at most 32 MiB, fed to fresh streams again and again.
  let recordedCount: Int
  let header: [UInt8]
  let bytes: [UInt8]

  var total: Double { Double(count * size) }
  /// Rounds over the recorded frames, and what turns their time into that of all messages.
  var pullRounds: Int { max(1, count / recordedCount) }
  var factor: Double { total / Double(pullRounds * recordedCount * size) }

  init(size: Int) {
    self.size = size
    count = max(1, min(megabytes << 20, size * 2_000_000) / size)
    (sendKeys, receiveKeys) = benchmarkKeys()
    recordedCount = max(1, min(count, (32 << 20) / (size + 20)))
    let message = [UInt8](repeating: 0x5a, count: size)
    let (recorder, recording) = makeStream(loop, sendKeys)
    recording.keeps = true
    for index in 0..<recordedCount {
      recorder.write(message)
      if index % 64 == 63 { loop.turn() }
    }
    loop.turn()
    header = recording.header
    bytes = recording.kept
  }

  mutating func add(_ name: String, _ time: Double) { results[name, default: []].append(total / time / 1e9) }

  mutating func rawPush() {
    let message = [UInt8](repeating: 0x5a, count: size)
    var sealed = [UInt8](repeating: 0, count: size + 17)
    var state = crypto_secretstream_xchacha20poly1305_state()
    var streamHeader = [UInt8](repeating: 0, count: 24)
    let key = [UInt8](repeating: 7, count: 32)
    let time = seconds {
      crypto_secretstream_xchacha20poly1305_init_push(&state, &streamHeader, key)
      for _ in 0..<count {
        crypto_secretstream_xchacha20poly1305_push(&state, &sealed, nil, message, UInt64(size), nil, 0, 0)
      }
    }
    add("raw push", time)
  }

  mutating func cipherPush() {
    let message = [UInt8](repeating: 0x5a, count: size)
    var sealed = [UInt8](repeating: 0, count: size + 17)
    var cipher = hyper_cipher_t()
    let time = seconds {
      hyper_cipher_init(&cipher, [UInt8](repeating: 5, count: 24), [UInt8](repeating: 7, count: 32))
      for _ in 0..<count { failures += hyper_cipher_seal(&cipher, &sealed, message, size, 0) == 0 ? 0 : 1 }
      hyper_cipher_wipe(&cipher)
    }
    add("cipher push", time)
  }

  mutating func cipherPull() {
    var cipher = hyper_cipher_t()
    var opened = [UInt8](repeating: 0, count: size)
    var tag: UInt8 = 0
    var failures = 0
    let time = seconds {
      for _ in 0..<pullRounds {
        receiveKeys.receiveKey.withUnsafePointer { hyper_cipher_init(&cipher, Array(header[35...]), $0) }
        bytes.withUnsafeBufferPointer { source in
          guard let base = source.baseAddress else { return }
          for index in 0..<recordedCount {
            let body = base + index * (size + 20) + 3
            if hyper_cipher_open(&cipher, &opened, &tag, body, size + 17) != 0 { failures += 1 }
          }
        }
        hyper_cipher_wipe(&cipher)
      }
    }
    self.failures += failures
    add("cipher pull", time * factor)
  }

  mutating func seal() {
    let message = [UInt8](repeating: 0x5a, count: size)
    let (stream, _) = makeStream(loop, sendKeys)
    let time = seconds {
      message.withUnsafeBytes { bytes in
        for index in 0..<count {
          stream.write(bytes)
          if index % 64 == 63 { loop.turn() }
        }
      }
      loop.turn()
    }
    add("seal", time)
  }

  /// The recorded frames, without the parser.
  mutating func rawPull() {
    var state = crypto_secretstream_xchacha20poly1305_state()
    var opened = [UInt8](repeating: 0, count: size)
    var failures = 0
    let time = seconds {
      for _ in 0..<pullRounds {
        receiveKeys.receiveKey.withUnsafePointer { key in
          _ = crypto_secretstream_xchacha20poly1305_init_pull(&state, Array(header[35...]), key)
        }
        bytes.withUnsafeBufferPointer { source in
          guard let base = source.baseAddress else { return }
          for index in 0..<recordedCount {
            let status = crypto_secretstream_xchacha20poly1305_pull(
              &state, &opened, nil, nil, base + index * (size + 20) + 3, UInt64(size + 17), nil, 0)
            if status != 0 { failures += 1 }
          }
        }
      }
    }
    self.failures += failures
    add("raw pull", time * factor)
  }

  mutating func open(_ name: String, chunk: Int) {
    var received = 0
    // Large reads hold whole frames, as a transport that knows the framing delivers them.
    let whole = max(1, chunk / (size + 20)) * (size + 20)
    let step = chunk == 1_400 ? chunk : whole
    let time = seconds {
      for _ in 0..<pullRounds {
        let (stream, transport) = makeStream(loop, receiveKeys)
        stream.onMessage = { received += $0.count }
        header.withUnsafeBytes { transport.onData?($0) }
        bytes.withUnsafeBytes { all in
          var offset = 0
          while offset < all.count {
            let end = min(offset + step, all.count)
            transport.onData?(UnsafeRawBufferPointer(rebasing: all[offset..<end]))
            offset = end
          }
        }
        stream.destroy()
        loop.turn()
      }
    }
    if received != pullRounds * recordedCount * size { failures += 1 }
    add(name, time * factor)
  }

  func printRow() {
    let medians = results.mapValues(median)
    let push = medians["raw push"] ?? 1
    let pull = medians["raw pull"] ?? 1
    let columns =
      [text(push)] + ["cipher push", "seal"].map { text((medians[$0] ?? 0) / push) } + [text(pull)]
      + ["cipher pull", "open", "open 1400"].map { text((medians[$0] ?? 0) / pull) }
    print(pad("\(size)", 9) + columns.map { pad($0, 14) }.joined())
  }
}

func text(_ value: Double) -> String {
  let scaled = Int((value * 100).rounded())
  let cents = scaled % 100
  return "\(scaled / 100).\(cents < 10 ? "0" : "")\(cents)"
}

func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }

func measure(size: Int) {
  var measurement = Measurement(size: size)
  for _ in 0..<rounds {
    measurement.rawPush()
    measurement.cipherPush()
    measurement.seal()
    measurement.rawPull()
    measurement.cipherPull()
    measurement.open("open", chunk: 64 << 10)
    measurement.open("open 1400", chunk: 1_400)
  }
  if measurement.failures > 0 { print("FAILED: \(measurement.failures) frames did not decrypt") }
  measurement.printRow()
}

Sodium.initialize()
print("GB per CPU second of libsodium's secretstream alone, and how many times that the cipher and the streams make")
print("libcrypto is \(hyper_cipher_has_libcrypto() == 1 ? "used" : "not used")")
let columns = ["raw push", "cipher push", "seal", "raw pull", "cipher pull", "open", "open 1400"]
print(pad("bytes", 9) + columns.map { pad($0, 14) }.joined())
for size in [16, 64, 256, 512, 1_024, 4_096, 16_384, 65_536, 1 << 20] { measure(size: size) }
