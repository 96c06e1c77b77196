# libhyperswarm: `swift build` compiles the stack, Scripts/cmake/bundle puts it and what it needs of Swift's runtime into
# one object that shows hyperswarm_* and nothing else, and the C compiler makes the two libraries of that. Programs need
# no Swift, neither where they are built nor where they run.

set(HYPERSWARM_SWIFT_FLAGS "" CACHE STRING "More arguments of `swift build`, a list")
set(HYPERSWARM_PREBUILT "" CACHE FILEPATH "hyperswarm.o of another build of the same sources, taken as it is")
find_program(HYPERSWARM_SWIFT swift DOC "The Swift toolchain that builds libhyperswarm")
mark_as_advanced(HYPERSWARM_SWIFT)

set(HYPERSWARM_IS_BUILT OFF)
if(HYPERSWARM_BUILD STREQUAL "AUTO")
  if(HYPERSWARM_SWIFT AND UNIX AND NOT APPLE AND CMAKE_OBJCOPY AND NOT CMAKE_CROSSCOMPILING AND NOT UDX_SANITIZE)
    set(HYPERSWARM_IS_BUILT ON)
  else()
    message(STATUS
      "libhyperswarm is not built: it needs Swift, an ELF system that is this one, objcopy, and no UDX_SANITIZE")
  endif()
elseif(HYPERSWARM_BUILD)
  if(APPLE OR NOT UNIX)
    message(FATAL_ERROR "HYPERSWARM_BUILD: only on ELF systems so far; elsewhere `swift build --product hyperswarm-c`")
  endif()
  if(CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR "HYPERSWARM_BUILD: `swift build` compiles for this system only; libudx can be built for others")
  endif()
  if(NOT HYPERSWARM_SWIFT OR NOT CMAKE_OBJCOPY)
    message(FATAL_ERROR "HYPERSWARM_BUILD: needs `swift` in the PATH (see README.md) and objcopy")
  endif()
  set(HYPERSWARM_IS_BUILT ON)
endif()
if(NOT HYPERSWARM_IS_BUILT)
  return()
endif()

pkg_check_modules(HYPERSWARM_LIBSODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
# Package.swift decides by the same package file; `swift build` and the linker must agree.
set(HYPERSWARM_CIPHER "")
set(HYPERSWARM_PC_LIBCRYPTO "")
set(HYPERSWARM_TRAIT --disable-default-traits)
if(HYPERSWARM_LIBCRYPTO)
  pkg_check_modules(HYPERSWARM_CRYPTO QUIET IMPORTED_TARGET libcrypto>=3)
  if(HYPERSWARM_CRYPTO_FOUND)
    set(HYPERSWARM_CIPHER PkgConfig::HYPERSWARM_CRYPTO)
    set(HYPERSWARM_PC_LIBCRYPTO ", libcrypto >= 3")
    set(HYPERSWARM_TRAIT --traits LibCrypto)
  endif()
endif()

set(HYPERSWARM_OBJECT ${CMAKE_CURRENT_BINARY_DIR}/hyperswarm.o)
set(HYPERSWARM_MAP ${PROJECT_SOURCE_DIR}/Scripts/cmake/hyperswarm.map)
if(HYPERSWARM_PREBUILT)
  add_custom_command(OUTPUT ${HYPERSWARM_OBJECT}
    COMMAND ${CMAKE_COMMAND} -E copy ${HYPERSWARM_PREBUILT} ${HYPERSWARM_OBJECT}
    DEPENDS ${HYPERSWARM_PREBUILT} VERBATIM)
else()
  file(GLOB_RECURSE HYPERSWARM_SOURCES CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/Sources/*.swift ${PROJECT_SOURCE_DIR}/Sources/*.c ${PROJECT_SOURCE_DIR}/Sources/*.h
    ${PROJECT_SOURCE_DIR}/include/*.h)
  add_custom_command(OUTPUT ${HYPERSWARM_OBJECT}
    COMMAND ${CMAKE_COMMAND} -E env SWIFT=${HYPERSWARM_SWIFT} OBJCOPY=${CMAKE_OBJCOPY} LD=${CMAKE_LINKER}
      ${PROJECT_SOURCE_DIR}/Scripts/cmake/bundle ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/swift
      ${HYPERSWARM_OBJECT} ${HYPERSWARM_TRAIT} ${HYPERSWARM_SWIFT_FLAGS}
    DEPENDS ${HYPERSWARM_SOURCES} ${PROJECT_SOURCE_DIR}/Package.swift ${PROJECT_SOURCE_DIR}/Scripts/cmake/bundle
    COMMENT "Compiling the Swift package (minutes when nothing is built yet)"
    VERBATIM USES_TERMINAL)
endif()
# Both libraries are made of the object, which is made once.
add_custom_target(hyperswarm_object DEPENDS ${HYPERSWARM_OBJECT})

foreach(kind static shared)
  if(HYPERSWARM_IS_MAIN)
    set(outside "")
  else()
    set(outside EXCLUDE_FROM_ALL)
  endif()
  string(TOUPPER ${kind} KIND)
  add_library(hyperswarm_${kind} ${KIND} ${outside} ${HYPERSWARM_OBJECT})
  add_dependencies(hyperswarm_${kind} hyperswarm_object)
  set_source_files_properties(${HYPERSWARM_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  set_target_properties(hyperswarm_${kind} PROPERTIES
    OUTPUT_NAME hyperswarm EXPORT_NAME hyperswarm_${kind} LINKER_LANGUAGE C)
  target_include_directories(hyperswarm_${kind} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  add_library(hyperswarm::hyperswarm_${kind} ALIAS hyperswarm_${kind})
endforeach()
add_library(hyperswarm::hyperswarm ALIAS hyperswarm_shared)

# What is inside: Swift's runtime is written in C++.
set(HYPERSWARM_SYSTEM_LIBRARIES stdc++ m pthread ${CMAKE_DL_LIBS})
target_link_libraries(hyperswarm_static INTERFACE
  PkgConfig::HYPERSWARM_LIBUV PkgConfig::HYPERSWARM_LIBSODIUM ${HYPERSWARM_CIPHER} ${HYPERSWARM_SYSTEM_LIBRARIES})
target_link_libraries(hyperswarm_shared PRIVATE
  PkgConfig::HYPERSWARM_LIBUV PkgConfig::HYPERSWARM_LIBSODIUM ${HYPERSWARM_CIPHER} ${HYPERSWARM_SYSTEM_LIBRARIES})

# SOVERSION: docs/c-abi.md. nodelete: threads of the library may still return into it when a program unloads it.
set_target_properties(hyperswarm_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION 0 LINK_DEPENDS ${HYPERSWARM_MAP})
target_link_options(hyperswarm_shared PRIVATE
  LINKER:--version-script=${HYPERSWARM_MAP} LINKER:-z,nodelete LINKER:-z,defs LINKER:--gc-sections)

add_custom_command(TARGET hyperswarm_shared POST_BUILD
  COMMAND ${CMAKE_COMMAND} -DLIBRARY=$<TARGET_FILE:hyperswarm_shared> -DSTRIP=${CMAKE_STRIP}
    -P ${PROJECT_SOURCE_DIR}/Scripts/cmake/size.cmake
  VERBATIM)
