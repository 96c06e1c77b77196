# libudx: the C transport, static and shared.

# One directory per kind of mechanism; every file in them belongs to the library.
file(GLOB UDX_SOURCES CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/Sources/CUDX/engine/*.c
  ${PROJECT_SOURCE_DIR}/Sources/CUDX/io/*.c
  ${PROJECT_SOURCE_DIR}/Sources/CLoop/*.c
  ${PROJECT_SOURCE_DIR}/Sources/CUDX/trace/*.c)
# Of the Swift library alone; it would need the loader's library.
list(FILTER UDX_SOURCES EXCLUDE REGEX "CLoop/process\\.c$")

add_library(udx_objects OBJECT ${UDX_SOURCES})
set_target_properties(udx_objects PROPERTIES
  C_STANDARD 11
  C_STANDARD_REQUIRED ON
  C_EXTENSIONS ON
  C_VISIBILITY_PRESET hidden
  POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(udx_objects PRIVATE _GNU_SOURCE)
# -ffp-contract=off: with fused multiply-adds a seed of the simulator would replay on some processors only.
target_compile_options(udx_objects PRIVATE -Wall -Wextra -Wpedantic -ffp-contract=off)
# The engine proves its invariants after every entry point.
target_compile_definitions(udx_objects PRIVATE $<$<CONFIG:Debug>:UDX_CHECKS>)
if(UDX_WARNINGS_AS_ERRORS)
  target_compile_options(udx_objects PRIVATE -Werror)
endif()
target_include_directories(udx_objects
  PUBLIC ${PROJECT_SOURCE_DIR}/include
  PRIVATE ${PROJECT_SOURCE_DIR}/Sources/CUDX ${PROJECT_SOURCE_DIR}/Sources/CLoop/include)
target_link_libraries(udx_objects PUBLIC PkgConfig::HYPERSWARM_LIBUV)
if(UDX_SANITIZE)
  target_compile_options(udx_objects PUBLIC -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_link_options(udx_objects PUBLIC -fsanitize=address,undefined)
endif()

foreach(kind static shared)
  if(kind STREQUAL "static")
    add_library(udx_static STATIC $<TARGET_OBJECTS:udx_objects>)
  else()
    add_library(udx_shared SHARED $<TARGET_OBJECTS:udx_objects>)
    # SOVERSION: docs/c-abi.md. Beside another implementation in one process each calls its own functions.
    set_target_properties(udx_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
    if(NOT APPLE)
      target_link_options(udx_shared PRIVATE LINKER:-Bsymbolic-functions)
    endif()
  endif()
  set_target_properties(udx_${kind} PROPERTIES OUTPUT_NAME udx EXPORT_NAME udx_${kind})
  target_include_directories(udx_${kind} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(udx_${kind} PUBLIC PkgConfig::HYPERSWARM_LIBUV)
  if(UDX_SANITIZE)
    target_link_options(udx_${kind} PUBLIC -fsanitize=address,undefined)
  endif()
  add_library(udx::udx_${kind} ALIAS udx_${kind})
endforeach()
add_library(udx::udx ALIAS udx_shared)
