// Swarms of 20 in a bad world, in virtual time: outages, moves, suspends, kills, losses, clocks that jump.
//
//   swift run -c release hyperswarm-trials [--seed N] [--runs N] [--minutes N] [--swarms N] [--seconds N] [--verbose 1]
//
// Run N has the seed --seed + N - 1 and lasts --minutes of virtual time. No run starts once --seconds of real time have
// passed. Prints a line for each run, and what was wrong; exit status 1 if anything was.
//
// A build for one thread takes a seventh less time, with the same digests:
//
//   swift build -c release --product hyperswarm-trials --scratch-path .build/trials --static-swift-stdlib \
//     -Xswiftc -enforce-exclusivity=unchecked -Xswiftc -Xfrontend -Xswiftc -assume-single-threaded
import HyperswarmTesting

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

// Sets and dictionaries in the same order in each run: with it a seed replays a run packet by packet.
if getenv("SWIFT_DETERMINISTIC_HASHING") == nil {
  setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
  if let program = CommandLine.unsafeArgv[0] { execvp(program, CommandLine.unsafeArgv) }
}

var values = ["--seed": 1, "--runs": 10, "--minutes": 60, "--swarms": 20, "--seconds": 86_400, "--verbose": 0]
var words = CommandLine.arguments.dropFirst()
while let name = words.popFirst() {
  guard values[name] != nil, let value = words.popFirst().flatMap({ Int($0) }), value > 0 else {
    fatalError("usage: hyperswarm-trials [--seed N] [--runs N] [--minutes N] [--swarms N] [--seconds N] [--verbose 1]")
  }
  values[name] = value
}

/// At once, also into a file.
func say(_ line: String) {
  print(line)
  fflush(nil)
}

let clock = ContinuousClock()
let start = clock.now
var good = 0
var bad: [UInt64] = []
for number in 0..<(values["--runs"] ?? 1) {
  guard clock.now - start < .seconds(values["--seconds"] ?? 0) else { break }
  let seed = UInt64((values["--seed"] ?? 1) + number)
  let begin = clock.now
  let trial = try Trial(
    seed: seed, size: values["--swarms"] ?? 20, isVerbose: values["--verbose"] == 1,
    onLine: { say("seed \(seed) \($0)") })
  let outcome = trial.run(for: .seconds(60 * (values["--minutes"] ?? 60)))
  if outcome.violations.isEmpty { good += 1 } else { bad.append(seed) }
  say(
    "seed \(seed): \(outcome.violations.isEmpty ? "ok" : "BAD"), \(outcome.phases) phases, "
      + "\(outcome.counts.values.reduce(0, +)) disturbances, \(outcome.reports) connections reported, "
      + "\(outcome.settled) calls settled, \(outcome.datagrams) datagrams, "
      + "digest \(String(outcome.digest, radix: 16)), \((clock.now - begin) / .seconds(1)) s")
}
say("\(good) runs without a finding, \(bad.count) with: \(bad)")
if !bad.isEmpty { exit(1) }
