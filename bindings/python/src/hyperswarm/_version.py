"""The version of the bindings: that of the library whose header they follow (the file VERSION of the checkout)."""

VERSION = "0.1.0"
