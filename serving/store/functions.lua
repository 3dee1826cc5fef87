#!lua name=dataflow_VERSION
-- The only writer of a generation's keys. All or nothing: everything is compared before the first write. VERSION is the
-- digest of this text: processes of other code have functions of their own beside these.

-- claim(meta): the caller becomes the one writer. Returns the new epoch. Whoever held an older one is fenced off.
redis.register_function('dataflow_claim_VERSION', function(keys, args)
  return redis.call('HINCRBY', keys[1], 'epoch', 1)
end)

-- Adds to a hash field, which goes at zero. Returns nothing, or an error where the sum would leave 64 bits.
local function add(key, field, delta)
  local sum = redis.pcall('HINCRBY', key, field, delta)
  if type(sum) == 'table' then return sum end
  if sum == 0 then redis.call('HDEL', key, field) end
end

-- Undoes the sums of the operations up to `last`, and of that one the values before `stop`.
local function take_back(operations, last, stop)
  for n = 1, last do
    local kind, key, values = unpack(operations[n])
    if kind == 'A' then
      for i = 1, (n == last and stop or #values + 1) - 2, 2 do
        local delta = values[i + 1]
        add(key, values[i], string.sub(delta, 1, 1) == '-' and string.sub(delta, 2) or '-' .. delta)
      end
    end
  end
end

-- Applies {{place, from, until} …}, {{letter, key, values} …}, in MessagePack, all values text: compare-and-set over
-- offset ranges. An operation's letter says what its values are:
--   S field value …    set hash fields          D field …           delete hash fields
--   A field delta …    add, and delete at zero  Z score member …    raise scores of a sorted set
--   T score            drop scores up to it         L most value …      put at the head of a list, which keeps so many
-- Returns OK, or what does not match; UNKNOWN and a letter that is none of these; RANGE and a field if a sum leaves 64 bits, and then nothing is written either.
local function apply(fences, body)
  local moves, operations = unpack(cmsgpack.unpack(body))
  for _, move in ipairs(moves) do
    local fence = redis.call('HGET', fences, move[1])
    if fence ~= move[2] then return 'FENCE ' .. move[1] .. ' ' .. tostring(fence) end
  end
  for _, operation in ipairs(operations) do
    if not string.match(operation[1], '^[SADZTL]$') then return 'UNKNOWN ' .. tostring(operation[1]) end
  end
  -- Sums first: they alone can fail, and an error does not take back what was written before it.
  for n, operation in ipairs(operations) do
    local kind, key, values = unpack(operation)
    if kind == 'A' then
      for i = 1, #values, 2 do
        if add(key, values[i], values[i + 1]) then
          take_back(operations, n, i)
          return 'RANGE ' .. key .. ' ' .. values[i] .. ' by ' .. values[i + 1]
        end
      end
    end
  end
  for _, move in ipairs(moves) do
    if move[3] ~= move[2] then redis.call('HSET', fences, move[1], move[3]) end
  end
  for _, operation in ipairs(operations) do
    local kind, key, values = unpack(operation)
    if kind == 'S' then
      redis.call('HSET', key, unpack(values))
    elseif kind == 'Z' then
      redis.call('ZADD', key, 'GT', unpack(values))
    elseif kind == 'D' then
      redis.call('HDEL', key, unpack(values))
    elseif kind == 'T' then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', values[1])
    elseif kind == 'L' then
      redis.call('LPUSH', key, unpack(values, 2))
      redis.call('LTRIM', key, 0, values[1] - 1)
    end
  end
  return 'OK'
end

-- What does not match, or nothing: another writer has claimed since, or what is filled in is not as this one left it.
local function other(meta, epoch, filling)
  local found = redis.call('HGET', meta, 'epoch')
  if found ~= epoch then return 'EPOCH ' .. tostring(found) end
  if filling then
    found = redis.call('HGET', meta, 'filling') or ''
    if found ~= filling then return 'FILLING ' .. found end
  end
end

-- commit(meta, fence, channel; epoch, body): see `apply`.
redis.register_function('dataflow_commit_VERSION', function(keys, args)
  local answer = other(keys[1], args[1]) or apply(keys[2], args[2])
  if answer == 'OK' then redis.call('PUBLISH', keys[3], '') end
  return answer
end)

-- fill(meta, fence; epoch, filling, next, body): the same for one piece of many, of which the one before left meta's
-- field `filling` as it is said, and this one leaves it as `next`. Nobody is told: nothing is shown yet.
redis.register_function('dataflow_fill_VERSION', function(keys, args)
  local answer = other(keys[1], args[1], args[2]) or apply(keys[2], args[4])
  if answer == 'OK' then
    if args[3] == '' then redis.call('HDEL', keys[1], 'filling')
    else redis.call('HSET', keys[1], 'filling', args[3]) end
  end
  return answer
end)

-- drop(meta; epoch, filling, n × key): the keys go.
redis.register_function('dataflow_drop_VERSION', function(keys, args)
  local answer = other(keys[1], args[1], args[2])
  if answer then return answer end
  redis.call('UNLINK', unpack(args, 3))
  return 'OK'
end)

-- fetch(; n × (key, field)): the values, nil where there is none.
redis.register_function{
  function_name = 'dataflow_fetch_VERSION',
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
--   L key n            the first n of a list
--   N key field        members of a sorted set whose score is within `window` of now: `field:window`. Now is meta's
--                      `field`, or the broker's newest time if that is earlier: a clock that is ahead moves nobody's now
redis.register_function{
  function_name = 'dataflow_read_VERSION',
  callback = function(keys, args)
    local meta = redis.call('HGETALL', keys[1])
    local found = { meta, redis.call('HGETALL', keys[2]) }
    for i = 1, #args, 3 do
      local kind, key, argument = args[i], args[i + 1], args[i + 2]
      local value
      if kind == 'H' then
        value = redis.call('HGETALL', key)
      elseif kind == 'L' then
        value = redis.call('LRANGE', key, 0, argument - 1)
      elseif kind == 'I' then
        value = redis.call('HGET', keys[1], 'dims') ~= argument and redis.call('HGETALL', key)
      else
        local field, window = string.match(argument, '^(.*):(%d+)$')
        local newest = redis.call('HGET', keys[1], field)
        -- scores are µs since 1970: whole numbers below 2^53, so this is exact
        local taken = tonumber(redis.call('HGET', keys[1], 'kafka_time') or newest)
        local now = newest and math.min(newest, taken)
        value = now and redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now - window), '+inf') or 0
      end
      found[#found + 1] = value
    end
    return found
  end,
  flags = { 'no-writes' }
}

-- versions(last; clock, seconds to remember, n × key of an event): a version for each, the same one for the same key.
redis.register_function('dataflow_versions_VERSION', function(keys, args)
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
