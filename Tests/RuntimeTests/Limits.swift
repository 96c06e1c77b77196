@testable import HyperRuntime

/// The limits of the module under test; the modules that it stands on have types of the same name.
typealias Limits = HyperRuntime.Limits
