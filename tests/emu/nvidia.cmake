# SPDX-License-Identifier: MIT
# The emulated NVIDIA libraries; read by CMakeLists.txt in this folder. Each needs the headers of
# nv-codec-headers (Debian: libffmpeg-nvenc-dev), whose structures are those FFmpeg was built with.
pkg_check_modules(FFNVCODEC IMPORTED_TARGET ffnvcodec)
pkg_check_modules(X264 IMPORTED_TARGET x264)
pkg_check_modules(X265 IMPORTED_TARGET x265)

# A library that other emulated libraries link too, hence SHARED and not MODULE.
function(lathe_emu_nvidia target file)
  add_library(${target} SHARED ${ARGN})
  target_link_libraries(${target} PRIVATE lathe_emu Threads::Threads ${CMAKE_DL_LIBS} m)
  target_compile_options(${target} PRIVATE -O2)
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${file} SUFFIX ""
                        BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN")
endfunction()

lathe_emu_nvidia(emu_nvml libnvidia-ml.so.1 nvml.c)

if(FFNVCODEC_FOUND)
  lathe_emu_nvidia(emu_cuda libcuda.so.1
                   cuda_context.c cuda_device.c cuda_kernels.c cuda_memory.c cuda_module.c
                   cuda_stream.c cuda_unsupported.c)
  target_link_libraries(emu_cuda PRIVATE PkgConfig::FFNVCODEC)
  # The kernels' loops are the emulation's hot spot.
  set_source_files_properties(cuda_kernels.c PROPERTIES COMPILE_OPTIONS "-O3")

  lathe_emu_nvidia(emu_cuvid libnvcuvid.so.1
                   cuvid_decoder.c cuvid_parser.c cuvid_picture.c cuvid_unsupported.c)
  target_link_libraries(emu_cuvid PRIVATE emu_cuda lathe_emu_decode PkgConfig::FFNVCODEC)

  if(X264_FOUND AND X265_FOUND)
    lathe_emu_nvidia(emu_nvenc libnvidia-encode.so.1
                     nvenc_buffers.c nvenc_caps.c nvenc_presets.c nvenc_session.c nvenc_settings.c
                     nvenc_x264.c nvenc_x265.c)
    target_link_libraries(emu_nvenc PRIVATE emu_cuda PkgConfig::FFNVCODEC PkgConfig::X264
                                            PkgConfig::X265)
    add_executable(nvenc-api nvenc_api.c)
    target_link_libraries(nvenc-api PRIVATE PkgConfig::AV)
    foreach(test cuda cuda_faults)
      add_test(NAME emu_${test} COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/test_${test}.py
               ${CMAKE_CURRENT_BINARY_DIR})
    endforeach()
    set_tests_properties(emu_cuda emu_cuda_faults PROPERTIES LABELS emu TIMEOUT 600)
  else()
    message(STATUS "Emulated NVENC left out: libx264-dev or libx265-dev missing")
  endif()
else()
  message(STATUS "Emulated NVIDIA drivers left out: nv-codec-headers (libffmpeg-nvenc-dev) missing")
endif()
