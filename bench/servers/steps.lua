-- The steps of steps.py inside the switch: as many questions of one digit each.
local questions, prompt = tonumber(argv[1]), argv[2]
session:answer()
for _ = 1, questions do
  session:execute("play_and_get_digits",
    "1 1 1 7000 none " .. prompt .. " silence_stream://1 choice [0-9*#]+ 4000")
  assert(session:getVariable("choice") == "1")
end
session:hangup("NORMAL_CLEARING")
