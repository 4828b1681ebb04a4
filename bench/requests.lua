-- Sends requests that were made before, in their order, and says in one line of JSON what came of them.
-- Arguments: the file (for each request its length, a line feed, its bytes), and `again` where each may be sent again.

local requests, at, again = {}, 0, false

function init(args)
  local file = assert(io.open(args[1], "rb"))
  again = args[2] == "again"
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
  end
  file:close()
end

function request()
  at = at + 1
  if at > #requests then
    if not again then wrk.thread:stop() end
    at = 1
  end
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.6f, "p99_ms": %.6f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
