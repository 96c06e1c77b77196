// The C library from Go, by its header: a network inside the process, a value stored in it and read back. Callbacks come
// on the library's thread.
//
//	go run isolated.go
package main

/*
#cgo pkg-config: hyperswarm
#include <hyperswarm.h>
typedef const char text_t;
typedef const hyperswarm_value_t value_t;
void on_ready(hyperswarm_testnet_t *network, int status, text_t *bootstrap, void *user_data);
void on_value(hyperswarm_t *swarm, int status, value_t *value, void *user_data);
void on_gone(void *user_data);
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// What a callback gets is copied: it is borrowed until the callback returns.
var ready, values, gone = make(chan string, 1), make(chan []byte, 1), make(chan bool, 1)

//export on_ready
func on_ready(network *C.hyperswarm_testnet_t, status C.int, bootstrap *C.text_t, user_data unsafe.Pointer) {
	check(status)
	ready <- C.GoString((*C.char)(bootstrap))
}

//export on_value
func on_value(swarm *C.hyperswarm_t, status C.int, value *C.value_t, user_data unsafe.Pointer) {
	check(status)
	if value.data == nil { // stored: under this key
		values <- C.GoBytes(unsafe.Pointer(value.key), C.HYPERSWARM_KEY_SIZE)
	} else {
		values <- C.GoBytes(unsafe.Pointer(value.data), C.int(value.length))
	}
}

//export on_gone
func on_gone(user_data unsafe.Pointer) { gone <- true }

func check(status C.int) {
	if status != C.HYPERSWARM_OK {
		panic(C.GoString(C.hyperswarm_strerror(status)))
	}
}

func main() {
	var network *C.hyperswarm_testnet_t
	var swarm *C.hyperswarm_t
	check(C.hyperswarm_testnet_create(nil, 4, (*[0]byte)(C.on_ready), nil, &network))
	entrance, host, text := C.CString(<-ready), C.CString("127.0.0.1"), []byte("a value")
	options := C.hyperswarm_options_t{bootstrap: entrance, host: host}
	options.size = C.sizeof_hyperswarm_options_t
	check(C.hyperswarm_create(&options, &swarm))
	done := C.hyperswarm_value_cb(C.on_value)
	check(C.hyperswarm_immutable_put(swarm, unsafe.Pointer(&text[0]), C.size_t(len(text)), done, nil))
	key := <-values
	check(C.hyperswarm_immutable_get(swarm, (*C.uint8_t)(&key[0]), done, nil))
	fmt.Printf("read %s\n", <-values)
	check(C.hyperswarm_destroy(swarm, 0, (*[0]byte)(C.on_gone), nil))
	<-gone
	check(C.hyperswarm_testnet_destroy(network, (*[0]byte)(C.on_gone), nil))
	<-gone
}
