// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperRuntime
import HyperUDX
import HyperswarmEngine

/// What stands behind a `hyperswarm_testnet_t`.
final class TestnetHandle: @unchecked Sendable {
  typealias Ready = @convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void

  let home: LoopHome
  private let ready: Ready?
  private let userData: UnsafeMutableRawPointer?
  private(set) var pointer: OpaquePointer?
  private var engine: Testnet?
  private var environments: [UVEnvironment] = []
  private var isStarting = false
  /// What the system said when `open` failed.
  private(set) var failure: String?

  init(home: LoopHome, ready: Ready?, userData: UnsafeMutableRawPointer?) {
    self.home = home
    self.ready = ready
    self.userData = userData
  }

  // MARK: On the loop

  func open(_ size: Int) -> Int32 {
    do throws(TransportError) {
      // One each, like separate processes.
      for _ in 0..<size { environments.append(try UVEnvironment(loop: home.loop)) }
    } catch {
      failure = systemText(error.code, error.description)
      return Int32(HYPERSWARM_ERR_BIND_FAILED)
    }
    let engine = Testnet(environments: environments, size: size)
    self.engine = engine
    pointer = Handles.testnets.add(self)
    isStarting = true
    home.loop.defer { [self] in engine.start { self.started(status($0)) } }
    return Int32(HYPERSWARM_OK)
  }

  private func started(_ status: Int32) {
    guard isStarting else { return }
    isStarting = false
    guard status == HYPERSWARM_OK, let engine else {
      ready?(pointer, status, nil, userData)
      return
    }
    engine.bootstrap.map(\.description).joined(separator: ",").withCString { ready?(pointer, status, $0, userData) }
  }

  /// `false`: the loop has ended already, and `done` will not be called.
  func destroy(_ done: @escaping @Sendable () -> Void) -> Bool {
    home.run { [self] in
      started(Int32(HYPERSWARM_ERR_NODE_DESTROYED))
      engine?.destroy { [self] in
        var open = environments.count
        for environment in environments {
          environment.close { [self] in
            open -= 1
            guard open == 0 else { return }
            home.loop.beginShutdown { [self] in
              engine = nil
              environments = []
              done()
            }
          }
        }
      }
    }
  }
}

@c @implementation
public func hyperswarm_testnet_create(
  _ loop: UnsafeMutablePointer<uv_loop_t>?, _ nodes: UInt32,
  _ ready: (@convention(c) (OpaquePointer?, Int32, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?, _ testnet: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let testnet = try require(testnet)
    testnet.pointee = nil
    guard nodes >= 1, nodes <= Limits.testnetNodes else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    let home = try LoopHome(loop)
    let handle = TestnetHandle(home: home, ready: ready, userData: userData)
    let code = home.runAndWait { handle.open(Int(nodes)) }
    guard code == HYPERSWARM_OK else {
      home.abandon()
      throw Failure(code, handle.failure)
    }
    testnet.pointee = handle.pointer
  }
}

@c @implementation
public func hyperswarm_testnet_destroy(
  _ testnet: OpaquePointer?, _ done: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.testnets, testnet).home.checkThread()
    guard let handle = Handles.testnets.remove(testnet) else { throw Failure(HYPERSWARM_ERR_BAD_HANDLE) }
    Handles.operations.withLock { $0 += 1 }
    let userData = LoopBound(userData)
    let isUnderWay = handle.destroy {
      Handles.operations.withLock { $0 -= 1 }
      done?(userData.value)
    }
    guard isUnderWay else {
      Handles.operations.withLock { $0 -= 1 }
      throw Failure(HYPERSWARM_ERR_LOOP_FAILED)
    }
  }
}
