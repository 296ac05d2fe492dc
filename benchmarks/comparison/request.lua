-- wrk's script: one request, all of it from the environment; prints one line with the results, times in microseconds.
local body = os.getenv("BENCH_BODY")
if body then
  local file = io.open(body, "rb")
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
end
for i = 1, tonumber(os.getenv("BENCH_HEADERS")) do
  wrk.headers[os.getenv("BENCH_NAME_" .. i)] = os.getenv("BENCH_VALUE_" .. i)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"duration_us":%d,"bytes":%d,"broken":%d,"refused":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99)))
end
