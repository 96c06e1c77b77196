import CHyperUV

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

extension UVEventLoop {
  /// A loop on a thread of its own, already running. The thread keeps the loop until `shutdown`, which its owner calls.
  /// - Throws: when the system has no room for the loop's descriptors or its thread.
  public static func startThread() throws(EventLoopError) -> UVEventLoop {
    let loop = try UVEventLoop()
    // Until the thread says otherwise no thread is on the loop.
    loop.ownerThread.store(0, ordering: .relaxed)
    loop.shared.withLock { $0.hasThread = true }
    let context = Unmanaged.passRetained(loop).toOpaque()
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let result = pthread_create(&thread, nil, loopThreadMain, context)
    guard result == 0 else {
      Unmanaged<UVEventLoop>.fromOpaque(context).release()
      // Closed on this thread: no other thread knows the loop.
      loop.shared.withLock { $0.hasThread = false }
      loop.ownerThread.store(currentThreadID(), ordering: .relaxed)
      loop.beginShutdown(nil)
      loop.run()
      throw EventLoopError(-result)
    }
    loop.threadHandle.withLock { $0 = thread }
    return loop
  }
}

#if canImport(Darwin)
  private func loopThreadMain(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    let loop = Unmanaged<UVEventLoop>.fromOpaque(context)
    loop._withUnsafeGuaranteedRef { $0.run() }
    loop.release()
    return nil
  }
#else
  private func loopThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let loop = Unmanaged<UVEventLoop>.fromOpaque(context)
    loop._withUnsafeGuaranteedRef { $0.run() }
    loop.release()
    return nil
  }
#endif
