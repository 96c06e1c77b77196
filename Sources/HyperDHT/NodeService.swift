#if ServiceLifecycle
  import HyperRuntime
  import ServiceLifecycle

  extension HyperDHT: Service {
    /// Runs until the node is destroyed. A graceful shutdown destroys it: servers withdraw their announcements first,
    /// and `run` returns when that is done. Cancellation destroys it with `force`.
    public func run() async {
      await withTaskCancellationHandler {
        await withGracefulShutdownHandler {
          await ended()
        } onGracefulShutdown: { [self] in
          beginDestruction(force: false)
        }
      } onCancel: {
        beginDestruction(force: true)
      }
    }
  }
#endif
