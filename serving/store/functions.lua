#!lua name=dataflow
-- The only writer of a generation's keys. All or nothing: everything is compared before the first write.

-- claim(meta): the caller becomes the one writer. Returns the new epoch. Whoever held an older one is fenced off.
redis.register_function('dataflow_claim', function(keys, args)
  return redis.call('HINCRBY', keys[1], 'epoch', 1)
end)

-- Undoes the sums from the operation at `at` on up to argument `stop` of the operation at `until_operation`.
local function take_back(args, at, until_operation, stop)
  while at <= until_operation do
    local kind, key, count = args[at], args[at + 1], tonumber(args[at + 2])
    local behind = at == until_operation and stop - 1 or at + 2 + count
    if kind == 'A' then
      for i = at + 3, behind, 2 do
        local delta = args[i + 1]
        local back = string.sub(delta, 1, 1) == '-' and string.sub(delta, 2) or '-' .. delta
        if redis.call('HINCRBY', key, args[i], back) == 0 then redis.call('HDEL', key, args[i]) end
      end
    end
    at = at + 3 + count
  end
end

-- commit(meta, fence, channel; epoch, n, n × (place, from, until), operations…): compare-and-set over offset ranges.
-- An operation is: letter, key, number of arguments, arguments.
--   S field value …    set hash fields          D field …           delete hash fields
--   A field delta …    add, and delete at zero  Z score member …    raise scores of a sorted set
--   T score            drop scores up to it
-- Returns OK, or what does not match; RANGE and a field if a sum leaves 64 bits, and then nothing is written either.
redis.register_function('dataflow_commit', function(keys, args)
  local epoch = redis.call('HGET', keys[1], 'epoch')
  if epoch ~= args[1] then return 'EPOCH ' .. tostring(epoch) end
  local at = 2
  local ranges = tonumber(args[at])
  at = at + 1
  for _ = 1, ranges do
    local fence = redis.call('HGET', keys[2], args[at])
    if fence ~= args[at + 1] then return 'FENCE ' .. args[at] .. ' ' .. tostring(fence) end
    at = at + 3
  end
  -- Sums first: they alone can fail, and an error does not take back what was written before it.
  local first, last = at, #args
  while at <= last do
    local kind, key, count = args[at], args[at + 1], tonumber(args[at + 2])
    at = at + 3
    if kind == 'A' then
      for i = at, at + count - 1, 2 do
        local sum = redis.pcall('HINCRBY', key, args[i], args[i + 1])
        if type(sum) == 'table' then
          take_back(args, first, at - 3, i)
          return 'RANGE ' .. key .. ' ' .. args[i] .. ' by ' .. args[i + 1]
        end
        if sum == 0 then redis.call('HDEL', key, args[i]) end
      end
    end
    at = at + count
  end
  at = 3
  for _ = 1, ranges do
    if args[at + 2] ~= args[at + 1] then redis.call('HSET', keys[2], args[at], args[at + 2]) end
    at = at + 3
  end
  while at <= last do
    local kind, key, count = args[at], args[at + 1], tonumber(args[at + 2])
    at = at + 3
    if kind == 'S' then
      redis.call('HSET', key, unpack(args, at, at + count - 1))
    elseif kind == 'Z' then
      redis.call('ZADD', key, 'GT', unpack(args, at, at + count - 1))
    elseif kind == 'D' then
      redis.call('HDEL', key, unpack(args, at, at + count - 1))
    elseif kind == 'T' then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', args[at])
    end
    at = at + count
  end
  redis.call('PUBLISH', keys[3], '')
  return 'OK'
end)

-- fetch(; n × (key, field)): the values, nil where there is none.
redis.register_function{
  function_name = 'dataflow_fetch',
  callback = function(keys, args)
    local found = {}
    for i = 1, #args, 2 do found[(i + 1) / 2] = redis.call('HGET', args[i], args[i + 1]) end
    return found
  end,
  flags = { 'no-writes' }
}

-- read(meta, fence; n × (kind, key, argument)): meta, fences and any number of keys, all of one moment.
--   H key -            the whole hash
--   I key version      the hash, unless meta's field `dims` still is `version`: then false
--   N key field        members of a sorted set whose score is within `window` of meta's `field`: `field:window`
redis.register_function{
  function_name = 'dataflow_read',
  callback = function(keys, args)
    local meta = redis.call('HGETALL', keys[1])
    local found = { meta, redis.call('HGETALL', keys[2]) }
    for i = 1, #args, 3 do
      local kind, key, argument = args[i], args[i + 1], args[i + 2]
      local value
      if kind == 'H' then
        value = redis.call('HGETALL', key)
      elseif kind == 'I' then
        value = redis.call('HGET', keys[1], 'dims') ~= argument and redis.call('HGETALL', key)
      else
        local field, window = string.match(argument, '^(.*):(%d+)$')
        local newest = redis.call('HGET', keys[1], field)
        -- scores are µs since 1970: whole numbers below 2^53, so this is exact
        value = newest and redis.call('ZCOUNT', key, '(' .. string.format('%.0f', newest - window), '+inf') or 0
      end
      found[#found + 1] = value
    end
    return found
  end,
  flags = { 'no-writes' }
}

-- versions(last; clock, seconds to remember, n × key of an event): a version for each, the same one for the same key.
redis.register_function('dataflow_versions', function(keys, args)
  local last = tonumber(redis.call('GET', keys[1]) or '0')
  local given = {}
  for i = 3, #args do
    local known = redis.call('GET', args[i])
    if not known then
      last = math.max(last + 1, tonumber(args[1]))
      known = string.format('%.0f', last)
      redis.call('SET', args[i], known, 'EX', args[2])
    end
    given[i - 2] = known
  end
  redis.call('SET', keys[1], string.format('%.0f', last))
  return given
end)
