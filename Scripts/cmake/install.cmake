# What is installed where, in two components for each library: what programs need to run, and to be compiled. A package
# file of pkg-config names the prefix, which `cmake --install --prefix` may still change: it is written at installation.

# Also writes FILE.pc, FILE-config.cmake and its version file, for the library FILE.
function(hyperswarm_install_library name targets headers)
  set(cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/${name})
  # `cmake --install --prefix` takes relative folders and does not complete them.
  foreach(component ${name}_runtime ${name}_development)
    install(CODE "get_filename_component(CMAKE_INSTALL_PREFIX \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)"
      COMPONENT ${component})
  endforeach()
  foreach(target ${targets})
    install(TARGETS ${target} EXPORT ${target}-target
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${name}_runtime NAMELINK_COMPONENT ${name}_development
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${name}_development)
    # One file of targets for each kind, so that a program without the other's needs finds this one.
    install(EXPORT ${target}-target NAMESPACE ${name}:: FILE ${target}-target.cmake
      DESTINATION ${cmake_folder} COMPONENT ${name}_development)
  endforeach()
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ${name}_development)

  configure_package_config_file(${PROJECT_SOURCE_DIR}/Scripts/cmake/${name}-config.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/${name}-config.cmake INSTALL_DESTINATION ${cmake_folder})
  write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/${name}-config-version.cmake
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/${name}-config-version.cmake
    DESTINATION ${cmake_folder} COMPONENT ${name}_development)

  foreach(kind LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
      string(REPLACE " " "\\ " PC_${kind} "${CMAKE_INSTALL_${kind}}")
    else()
      set(PC_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}}")
    endif()
  endforeach()
  set(PC_PREFIX "@PC_INSTALL_PREFIX@")
  configure_file(${PROJECT_SOURCE_DIR}/Scripts/cmake/${name}.pc.in
    ${CMAKE_CURRENT_BINARY_DIR}/install/${name}.pc.in @ONLY)
  install(CODE "string(REPLACE \" \" \"\\\\ \" PC_INSTALL_PREFIX \"\${CMAKE_INSTALL_PREFIX}\")
  configure_file(\"${CMAKE_CURRENT_BINARY_DIR}/install/${name}.pc.in\"
    \"${CMAKE_CURRENT_BINARY_DIR}/install/${name}.pc\" @ONLY)" COMPONENT ${name}_development)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/install/${name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ${name}_development)
endfunction()

hyperswarm_install_library(udx "udx_static;udx_shared"
  "include/udx.h;include/udx_driver.h;include/udx_paths.h;include/udx_trace.h")
if(HYPERSWARM_IS_BUILT)
  file(GLOB headers ${PROJECT_SOURCE_DIR}/include/hyperswarm*.h)
  hyperswarm_install_library(hyperswarm "hyperswarm_static;hyperswarm_shared" "${headers}")
endif()

if(HYPERSWARM_IS_MAIN)
  add_custom_target(uninstall
    COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR} -P ${PROJECT_SOURCE_DIR}/Scripts/cmake/uninstall.cmake
    COMMENT "Removing what was installed from here" VERBATIM)
endif()
