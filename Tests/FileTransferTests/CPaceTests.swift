import HyperEncoding
import XCTest

@testable import HyperFileTransfer

/// The vectors of draft-irtf-cfrg-cpace for ristretto255 with SHA-512.
final class CPaceTests: XCTestCase {
  private let password = Array("Password".utf8)
  private let channel = CPaceTests.bytes("0b415f696e69746961746f720b425f726573706f6e646572")
  private let session = CPaceTests.bytes("7e4b4791d6a8ef019b936c79fb7f2c57")
  private let scalarA = CPaceTests.fixed("da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08")
  private let scalarB = CPaceTests.fixed("d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d")
  private let key = CPaceTests.bytes(
    "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd"
      + "2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447")

  private static func bytes(_ hex: String) -> [UInt8] { Hex.decode(hex) ?? [] }
  private static func fixed(_ hex: String) -> Bytes32 { Bytes32(hex: hex) ?? Bytes32() }

  func testCPace_generator() {
    let string = CPace.generatorString(password: password, channel: channel, session: session)
    XCTAssertEqual(string.count, 170)
    XCTAssertEqual(Hex.encode(string.prefix(27)), "11435061636552697374726574746f3235350850617373776f7264")
    XCTAssertEqual(
      CPace.generator(password: password, channel: channel, session: session).hex,
      "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56")
  }

  func testCPace_sharesAndKey() throws {
    let a = CPace(password: password, channel: channel, session: session, scalar: scalarA)
    let b = CPace(password: password, channel: channel, session: session, scalar: scalarB)
    XCTAssertEqual(a.share.hex, "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157")
    XCTAssertEqual(b.share.hex, "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258")
    XCTAssertEqual(
      CPace.multiply(scalarA, b.share)?.hex, "80b69a8a76457ab6a4d7f887a4bf6b55a2f80ac19c333f917a05fc9887c8b40f")
    let (dataA, dataB) = (Array("ADa".utf8), Array("ADb".utf8))
    XCTAssertEqual(a.key(with: b.share, isInitiator: true, ownData: dataA, remoteData: dataB), key)
    XCTAssertEqual(b.key(with: a.share, isInitiator: false, ownData: dataB, remoteData: dataA), key)
  }

  func testCPace_multiplication() throws {
    let scalar = CPaceTests.fixed("7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05")
    let valid = CPaceTests.fixed("2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c")
    XCTAssertEqual(
      CPace.multiply(scalar, valid)?.hex, "7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e")
    // No element, and the neutral one.
    XCTAssertNil(
      CPace.multiply(scalar, CPaceTests.fixed("2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c")))
    XCTAssertNil(CPace.multiply(scalar, Bytes32()))
    let exchange = CPace(password: password, channel: channel, session: session)
    XCTAssertNil(exchange.key(with: Bytes32(), isInitiator: true))
  }

  func testCPace_otherInputsAreOtherKeys() throws {
    func key(_ password: String, _ session: [UInt8]) -> [UInt8]? {
      let a = CPace(password: Array(password.utf8), channel: channel, session: session, scalar: scalarA)
      let b = CPace(password: self.password, channel: channel, session: self.session, scalar: scalarB)
      return a.key(with: b.share, isInitiator: true) == b.key(with: a.share, isInitiator: false) ? [] : nil
    }
    XCTAssertNotNil(key("Password", session))
    XCTAssertNil(key("password", session))
    XCTAssertNil(key("Password", session.reversed()))
  }

  func testCPace_lengthsAreLEB128() {
    XCTAssertEqual(CPace.joined([[1], []]), [1, 1, 0])
    XCTAssertEqual(Array(CPace.joined([[UInt8](repeating: 9, count: 128)]).prefix(3)), [0x80, 1, 9])
  }
}
