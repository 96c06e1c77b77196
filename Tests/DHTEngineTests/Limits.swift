@testable import HyperDHTEngine

/// The limits of the module under test; the modules that it stands on have types of the same name.
typealias Limits = HyperDHTEngine.Limits
