// The C library from Rust, declared by hand: a network inside the process, a value stored in it and read back.
// Callbacks come on the library's thread.
//
//   rustc --edition 2021 isolated.rs -l hyperswarm && ./isolated
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::mpsc::{channel, Sender};

enum Handle {} // never looked at
#[repr(C)]
struct Value { size: usize, key: *const u8, data: *const u8, length: usize } // the rest is not used
type Done = extern "C" fn(*mut c_void);
type OnValue = extern "C" fn(*mut Handle, c_int, *const Value, *mut c_void);
type OnReady = extern "C" fn(*mut Handle, c_int, *const c_char, *mut c_void);

extern "C" {
    fn hyperswarm_testnet_create(
        at: *mut c_void, nodes: u32, on: OnReady, user: *mut c_void, to: *mut *mut Handle) -> c_int;
    fn hyperswarm_testnet_destroy(testnet: *mut Handle, done: Done, user: *mut c_void) -> c_int;
    fn hyperswarm_create(options: *const Options, swarm: *mut *mut Handle) -> c_int;
    fn hyperswarm_destroy(swarm: *mut Handle, force: c_int, done: Done, user: *mut c_void) -> c_int;
    fn hyperswarm_immutable_put(
        swarm: *mut Handle, data: *const u8, length: usize, done: OnValue, user: *mut c_void) -> c_int;
    fn hyperswarm_immutable_get(swarm: *mut Handle, hash: *const u8, done: OnValue, user: *mut c_void) -> c_int;
}

// The fields of the first version of hyperswarm_options_t: the library takes shorter structs of older programs.
#[repr(C)]
struct Options { size: usize, event_loop: *mut c_void, secret_key: *const u8, bootstrap: *const c_char,
    host: *const c_char, ports: [u16; 2], numbers: [u32; 6], relays: *const u8, relay_count: usize,
    callbacks: [*const c_void; 2], user_data: *mut c_void }

type Read = (Vec<u8>, Vec<u8>); // key and bytes

unsafe fn send<T>(user: *mut c_void, what: T) { (*(user as *const Sender<T>)).send(what).unwrap() }
extern "C" fn on_ready(_: *mut Handle, status: c_int, bootstrap: *const c_char, user: *mut c_void) {
    assert_eq!(status, 0);
    unsafe { send::<CString>(user, CStr::from_ptr(bootstrap).to_owned()) }
}
extern "C" fn on_value(_: *mut Handle, status: c_int, value: *const Value, user: *mut c_void) {
    assert_eq!(status, 0);
    unsafe {
        let value = &*value;
        let text = if value.data.is_null() { &[] } else { std::slice::from_raw_parts(value.data, value.length) };
        send::<Read>(user, (std::slice::from_raw_parts(value.key, 32).to_vec(), text.to_vec()))
    }
}
extern "C" fn on_gone(user: *mut c_void) { unsafe { send::<()>(user, ()) } }
fn pointer<T>(sender: &Sender<T>) -> *mut c_void { sender as *const Sender<T> as *mut c_void }

fn main() {
    let (mut testnet, mut swarm) = (null_mut(), null_mut());
    let (ready, entrances) = channel::<CString>();
    let (values, outcomes) = channel::<Read>();
    let (gone, ends) = channel::<()>();
    unsafe {
        assert_eq!(hyperswarm_testnet_create(null_mut(), 4, on_ready, pointer(&ready), &mut testnet), 0);
        let entrance = entrances.recv().unwrap();
        let options = Options { size: std::mem::size_of::<Options>(), event_loop: null_mut(), secret_key: null(),
            bootstrap: entrance.as_ptr(), host: c"127.0.0.1".as_ptr(), ports: [0; 2], numbers: [0; 6],
            relays: null(), relay_count: 0, callbacks: [null(); 2], user_data: null_mut() };
        assert_eq!(hyperswarm_create(&options, &mut swarm), 0);
        assert_eq!(hyperswarm_immutable_put(swarm, b"a value".as_ptr(), 7, on_value, pointer(&values)), 0);
        let (key, _) = outcomes.recv().unwrap();
        assert_eq!(hyperswarm_immutable_get(swarm, key.as_ptr(), on_value, pointer(&values)), 0);
        println!("read {}", String::from_utf8_lossy(&outcomes.recv().unwrap().1));
        assert_eq!(hyperswarm_destroy(swarm, 0, on_gone, pointer(&gone)), 0);
        ends.recv().unwrap();
        assert_eq!(hyperswarm_testnet_destroy(testnet, on_gone, pointer(&gone)), 0);
        ends.recv().unwrap();
    }
}
