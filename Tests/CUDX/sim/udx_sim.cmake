# The simulator (with the macros of the tests) as one library, for the C tests, the conformance tests and the fuzz
# targets. Needs the target udx_static of the root project.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.44)

set(UDX_SIM_DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/..)

# udx_test_target(NAME): the language and the warnings of everything that tests the transport.
function(udx_test_target name)
  set_target_properties(${name} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON) # uv.h needs gnu11
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic)
  if(UDX_WARNINGS_AS_ERRORS)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  if(UDX_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
    target_link_options(${name} PRIVATE -fsanitize=address,undefined)
  endif()
endfunction()

add_library(udx_sim STATIC
  ${UDX_SIM_DIRECTORY}/sim/address.c
  ${UDX_SIM_DIRECTORY}/sim/check.c
  ${UDX_SIM_DIRECTORY}/sim/events.c
  ${UDX_SIM_DIRECTORY}/sim/host.c
  ${UDX_SIM_DIRECTORY}/sim/inside.c
  ${UDX_SIM_DIRECTORY}/sim/network.c
  ${UDX_SIM_DIRECTORY}/sim/pair.c
  ${UDX_SIM_DIRECTORY}/sim/random.c
  ${UDX_SIM_DIRECTORY}/sim/sim.c)
udx_test_target(udx_sim)
target_include_directories(udx_sim PUBLIC ${UDX_SIM_DIRECTORY} PRIVATE ${UDX_SIM_DIRECTORY}/../../Sources/CUDX)
target_link_libraries(udx_sim PUBLIC udx_static)
