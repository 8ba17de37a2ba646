# SPDX-License-Identifier: MIT
# Makes C arrays of the Lua scripts: cmake -DOUTPUT=… -DSCRIPTS=a.lua,b.lua -P embed_lua.cmake
string(REPLACE "," ";" scripts "${SCRIPTS}")
set(text "/* Made from src/state/lua by embed_lua.cmake. */\n#include \"redis_scripts.h\"\n")
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  file(READ ${script} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND text "const char lathe_redis_lua_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
