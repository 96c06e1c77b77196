#if ServiceLifecycle
  import HyperRuntime
  import ServiceLifecycle

  extension Hyperswarm: Service {
    /// Runs until the swarm is destroyed. A graceful shutdown destroys it, and unless it was given to the swarm its
    /// node: announcements are withdrawn and connections closed, and `run` returns when that is done. Cancellation
    /// destroys it with `force`.
    ///
    /// Services that use the connections come behind the swarm in the list of a `ServiceGroup`: they are shut down
    /// before it.
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
