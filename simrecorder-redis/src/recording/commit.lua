-- Makes all changes of one commit, or none. The writer numbers its commits, so that a commit that
-- is sent twice is applied once. docs/format.md describes the keys.
--
-- KEYS: commits [, root, nodes, attributes]: without the latter, the changes concern the series in
--       one slot of a cluster.
-- ARGV: generation, writer, number of the previous commit, number of this commit (0: not counted),
--       prefix of the names of groups, prefix of the names of values, prefix of the names of series
--       (empty in a cluster), changes.
local commits, root, nodes, attributes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local writer, before, number = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local groups, values, series = ARGV[5], ARGV[6], ARGV[7]
local claims = string.gsub(commits, 'commits$', 'claims')
local at = 8

if root and redis.call('HGET', root, 'generation') ~= ARGV[1] then
    return {'replaced'}
end
if number > 0 then
    local last = tonumber(redis.call('HGET', commits, writer) or '0')
    if last >= number then return {'done', last} end
    if last ~= before then return {'gap', last} end
end

local function take()
    at = at + 1
    return ARGV[at - 1]
end

local function int(n) return string.format('%.0f', n) end

local function refuse(kind, key, message)
    error({refused = {'refused', kind, key, message}})
end

-- The work to do after all checks: commands and functions.
local todo = {}
local function add(...) todo[#todo + 1] = {...} end

-- The metadata of keys, with the changes of this commit so far.
local known = {}
local function node_at(key)
    if key == '' then return {node = 'group'} end
    if known[key] == nil then
        local document = redis.call('HGET', nodes, key)
        if document then
            local decodes, decoded = pcall(cjson.decode, document)
            if not decodes or type(decoded) ~= 'table' then
                refuse('corrupt', key, 'the metadata of this key is malformed')
            end
            known[key] = decoded
        else
            known[key] = false
        end
    end
    return known[key] or nil
end

local function parent_of(key)
    local parent, name = string.match(key, '^(.*)/([^/]*)$')
    return parent or '', name or key
end

-- Creates a missing key, and the groups above it.
local function create(key, kind, document)
    local child, child_kind, child_document = key, kind, document
    while true do
        local parent, name = parent_of(child)
        redis.call('HEXISTS', groups .. parent, name)
        add('HSET', groups .. parent, name, child_kind)
        add('HSET', nodes, child, child_document)
        known[child] = cjson.decode(child_document)
        local above = node_at(parent)
        if above and above.node == 'group' then return end
        if above then refuse('below', key, parent .. '\n' .. tostring(above.node)) end
        child, child_kind, child_document = parent, 'group', '{"node":"group"}'
    end
end

local function clash(key, is, wanted)
    refuse('clash', key, tostring(is.node) .. '\n' .. wanted)
end

-- Groups that this writer has claimed, and groups that no writer has claimed.
local held, unclaimed = {}, {}

-- Only the last claimant may change the series directly in a claimed group.
local function check_claim(key)
    local group = parent_of(key)
    if held[group] or unclaimed[group] then return end
    if redis.call('HEXISTS', claims, group) == 1 then refuse('locked', group, '') end
    unclaimed[group] = true
end

-- The lengths of series, by the prefixes of the names of their keys, with the changes of this
-- commit so far. Series in the slot of their group share one hash.
local states, state_fields = {}, {'records', 'first', 'end', 'cuts', 'filled'}
local function hash_of(prefix)
    local slot, fields = string.match(prefix, '^(.*}:)(%x+:)$')
    if slot then return slot .. 'states', fields end
    return prefix .. 'state', ''
end

local function state_at(prefix)
    if not states[prefix] then
        local hash, fields = hash_of(prefix)
        local f = redis.call('HMGET', hash, fields .. 'records', fields .. 'first',
            fields .. 'end', fields .. 'cuts', fields .. 'filled')
        if f[1] then
            states[prefix] = {
                records = f[1], first = tonumber(f[2]), last = tonumber(f[3]), cuts = tonumber(f[4]),
                filled = f[5] and tonumber(f[5]),
            }
        end
    end
    return states[prefix]
end

local function existing(key, prefix)
    local state = state_at(prefix)
    if state then return state end
    local is = nodes and node_at(key)
    if is and is.node ~= 'series' then clash(key, is, 'series') end
    refuse('missing', key, '')
end

-- The name of a part of a frame. A frame that was split has several parts.
local function part_name(name, parts, part)
    if parts > 1 then return name .. '.' .. part end
    return name
end

local function check_parts(key, prefix, name, parts, bytes)
    local found = 0
    for part = 0, parts - 1 do
        local full = prefix .. part_name(name, parts, part)
        found = found + redis.call('STRLEN', full)
        add('PERSIST', full)
    end
    if found ~= bytes then refuse('frames', key, '') end
end

local function unlink(prefix, name, parts)
    for part = 0, parts - 1 do
        local full = prefix .. part_name(name, parts, part)
        redis.call('UNLINK', full)
    end
end

local function fields_of(entry)
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    return fields, tonumber(string.match(entry[1], '^(%d+)-'))
end

-- Ends the claim of a group.
local function release(group)
    if redis.call('HDEL', claims, group) == 1 and root and series == '' then
        -- The keys that its series share stay on another node.
        redis.call('HSET', string.gsub(nodes, 'nodes$', 'removed'), group, '')
    end
end

-- A change by a writer without the claim ends the claim, so that the claimant notices.
local function release_above(key)
    local group = parent_of(key)
    if not held[group] then release(group) end
end

-- The prefix of the names of the keys of a series.
local function prefix_of(key, document)
    local function id(of) return string.sub(redis.sha1hex(of), 1, 16) end
    if document.shares_slot then return series .. id((parent_of(key))) .. '}:' .. id(key) .. ':' end
    return series .. id(key) .. '}:'
end

-- The series of a group, by the prefixes of the names of their keys. `prefix` is the prefix of one
-- of them.
local function series_beside(key, prefix)
    local found = {}
    local hash, own = hash_of(prefix)
    if own ~= '' then
        for _, field in ipairs(redis.call('HKEYS', hash)) do
            local id = string.match(field, '^(%x+:)end$')
            if id then found[#found + 1] = string.sub(prefix, 1, -#own - 1) .. id end
        end
    elseif root then
        local group = parent_of(key)
        local above = group == '' and '' or group .. '/'
        for _, name in ipairs(redis.call('HKEYS', groups .. group)) do
            local is = node_at(above .. name)
            if is and is.node == 'series' then found[#found + 1] = prefix_of(above .. name, is) end
        end
    end
    return found
end

-- A new series begins where the others do: their first records may have been freed.
local function first_beside(key, prefix)
    for _, other in ipairs(series_beside(key, prefix)) do
        local state = state_at(other)
        if state then return state.first end
    end
    return 0
end

-- Series of a claimed group that were created meanwhile begin with filled records, which are freed
-- with the records of the others.
local function free_beside(key, prefix, freed)
    for _, other in ipairs(series_beside(key, prefix)) do
        local state = state_at(other)
        if state and state.filled and state.first < freed and freed <= state.filled then
            state.first, state.changed = freed, true
        end
    end
end

-- The state of a new series, which begins with `filled` filled records.
local function new_state(records, filled, first, base)
    return {
        records = records, first = math.min(first, filled), last = filled, cuts = base,
        filled = filled > 0 and filled, changed = true,
    }
end

local changes = {}

-- This writer claims the series directly in a group. If a claim is sent again, it does not replace
-- one that was made meanwhile: later claims have larger numbers.
function changes.claim()
    local group, number = take(), take()
    local claim = redis.call('HGET', claims, group)
    if claim then
        local last = string.match(claim, '^(%d+) %x+$')
        if not last then refuse('corrupt', group, 'the claim of this group is malformed') end
        if tonumber(last) >= tonumber(number) then refuse('locked', group, '') end
    end
    add('HSET', claims, group, number .. ' ' .. writer)
    held[group] = true
    if not root or series ~= '' then return end
    -- In a cluster, all of them share a slot.
    local above = group == '' and '' or group .. '/'
    for _, name in ipairs(redis.call('HKEYS', groups .. group)) do
        local is = node_at(above .. name)
        if is and is.node == 'series' and not is.shares_slot then
            refuse('apart', above .. name, '')
        end
    end
    local requires = redis.call('HGET', root, 'requires') or ''
    if not string.find(' ' .. requires .. ' ', ' shared-slots ', 1, true) then
        add('HSET', root, 'requires', requires == '' and 'shared-slots' or requires .. ' shared-slots')
    end
end

-- Checks that the last claim of a group is this writer's.
function changes.hold()
    local group, number = take(), take()
    if redis.call('HGET', claims, group) ~= number .. ' ' .. writer then refuse('locked', group, '') end
    held[group] = true
end

-- Ends the claim of a group in the slot of its series, in a cluster.
function changes.release()
    local group = take()
    todo[#todo + 1] = function() release(group) end
end

function changes.declare()
    local key, records, document, text, prefix = take(), take(), take(), take(), take()
    local filled = tonumber(take())
    check_claim(key)
    local is = node_at(key)
    if not is then
        create(key, 'series', document)
        if text ~= '' then add('HSET', attributes, key, text) end
        if prefix ~= '' then
            if state_at(prefix) then refuse('corrupt', key, 'two keys have the same hash') end
            local base = tonumber(redis.call('HGET', root, 'cut_base') or '0')
            local first = filled > 0 and first_beside(key, prefix) or 0
            states[prefix] = new_state(records, filled, first, base)
        end
    elseif is.node ~= 'series' then
        clash(key, is, 'series')
    elseif is.records ~= records then
        refuse('schema', key, tostring(is.records) .. '\n' .. records)
    end
end

-- The lengths of a series in a cluster, where its hierarchy is in another slot.
function changes.open()
    local prefix, records, base, filled = take(), take(), tonumber(take()), tonumber(take())
    if not state_at(prefix) then
        local first = filled > 0 and first_beside(nil, prefix) or 0
        states[prefix] = new_state(records, filled, first, base)
    end
end

function changes.set()
    local key, document = take(), take()
    if key == '' then clash(key, {node = 'group'}, 'value') end
    local is, new = node_at(key), cjson.decode(document)
    check_parts(key, values, new.frame, new.parts, new.bytes)
    if not is then
        create(key, 'value', document)
    elseif is.node ~= 'value' then
        clash(key, is, 'value')
    else
        add('HSET', nodes, key, document)
        if is.frame ~= new.frame then
            todo[#todo + 1] = function() unlink(values, is.frame, is.parts) end
        end
        known[key] = new
    end
end

function changes.attributes()
    local key, text = take(), take()
    if not node_at(key) then create(key, 'group', '{"node":"group"}') end
    add('HSET', attributes, key, text)
end

-- Changes the names of the axes of a series. The rest of its metadata stays.
function changes.describe()
    local key, document = take(), take()
    local is = node_at(key)
    if not is then refuse('missing', key, '') end
    if is.node ~= 'series' then clash(key, is, 'series') end
    add('HSET', nodes, key, document)
    known[key] = cjson.decode(document)
end

function changes.append()
    local key, records, prefix = take(), take(), take()
    local start, count = take(), tonumber(take())
    check_claim(key)
    local state = existing(key, prefix)
    if state.records ~= records then refuse('schema', key, state.records .. '\n' .. records) end
    -- The claimant of a group knows where its series end.
    if start ~= '' and tonumber(start) ~= state.last then
        refuse('start', key, start .. '\n' .. int(state.last))
    end
    redis.call('XLEN', prefix .. 'index')
    for _ = 1, count do
        local name, n, bytes, parts = take(), take(), take(), take()
        check_parts(key, prefix, name, tonumber(parts), tonumber(bytes))
        add('XADD', prefix .. 'index', int(state.last) .. '-1',
            'n', n, 'w', writer, 'f', name, 'b', bytes, 'p', parts)
        state.last = state.last + tonumber(n)
    end
    state.changed = true
end

-- Moves the entries of an index to a new stream that replaces it.
local function move(index)
    local new, from = index .. '.new', '-'
    redis.call('DEL', new)
    while true do
        local entries = redis.call('XRANGE', index, from, '+', 'COUNT', 500)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do
            redis.call('XADD', new, entry[1], unpack(entry[2]))
        end
        from = '(' .. entries[#entries][1]
    end
    redis.call('DEL', index)
    if redis.call('EXISTS', new) == 1 then redis.call('RENAME', new, index) end
end

local function truncate(prefix, records)
    local index, ended = prefix .. 'index', records
    repeat
        local entries = redis.call('XREVRANGE', index, '+', int(records) .. '-0', 'COUNT', 100)
        for _, entry in ipairs(entries) do
            local fields = fields_of(entry)
            redis.call('XDEL', index, entry[1])
            unlink(prefix, fields.f, tonumber(fields.p))
        end
    until #entries == 0
    local entry = redis.call('XREVRANGE', index, '+', '-', 'COUNT', 1)[1]
    local again
    if entry then
        local fields, first = fields_of(entry)
        if first + tonumber(fields.n) > records then
            redis.call('XDEL', index, entry[1])
            again, ended = {
                'XADD', index, entry[1], 'n', int(records - first), 'w', fields.w,
                'f', fields.f, 'b', fields.b, 'p', fields.p,
            }, first
        end
    end
    -- So that records can be added from there on again. On newer servers, the last id of a stream
    -- cannot go below ids that were deleted: then its entries are moved to a new one.
    if redis.call('EXISTS', index) == 1 then
        local back = redis.pcall('XSETID', index, int(ended) .. '-0')
        if type(back) == 'table' and back.err then move(index) end
    end
    if again then redis.call(unpack(again)) end
end

function changes.truncate()
    local key, prefix, records = take(), take(), tonumber(take())
    if nodes and key == '' then clash(key, {node = 'group'}, 'series') end
    check_claim(key)
    local state = existing(key, prefix)
    if state.last <= records then return end
    redis.call('XLEN', prefix .. 'index')
    state.first, state.last = math.min(state.first, records), records
    state.filled = state.filled and math.min(state.filled, records)
    state.cuts, state.changed = state.cuts + 1, true
    todo[#todo + 1] = function() truncate(prefix, records) end
end

local function free(prefix, first)
    local index = prefix .. 'index'
    while true do
        local entries = redis.call('XRANGE', index, '-', '+', 'COUNT', 16)
        for _, entry in ipairs(entries) do
            local fields, start = fields_of(entry)
            if start + tonumber(fields.n) > first then return end
            redis.call('XDEL', index, entry[1])
            unlink(prefix, fields.f, tonumber(fields.p))
        end
        if #entries == 0 then return end
    end
end

local freed_groups = {}
function changes.free()
    local key, prefix, first = take(), take(), tonumber(take())
    local state = existing(key, prefix)
    redis.call('XLEN', prefix .. 'index')
    local freed = math.max(state.first, math.min(first, state.last))
    -- A server whose memory is full rejects even writes that change nothing.
    if freed > state.first then state.first, state.changed = freed, true end
    todo[#todo + 1] = function() free(prefix, freed) end
    local group = parent_of(key)
    if redis.call('HEXISTS', claims, group) == 1 then freed_groups[group] = {key, prefix, freed} end
end

-- The base from which the cuts of a series are counted that replaces a removed one.
local function raise_cut_base() return redis.call('HINCRBY', root, 'cut_base', 1048576) end

-- The key and all keys below it. A group precedes its contents.
local function keys_within(key)
    local found, next = {key}, 1
    while found[next] do
        for _, name in ipairs(redis.call('HKEYS', groups .. found[next])) do
            found[#found + 1] = found[next] .. '/' .. name
        end
        next = next + 1
    end
    return found
end

-- Removes keys from the hierarchy: the first one and those below it.
local function forget(keys)
    for _, key in ipairs(keys) do
        redis.call('DEL', groups .. key)
        redis.call('HDEL', nodes, key)
        redis.call('HDEL', attributes, key)
    end
    local parent, name = parent_of(keys[1])
    redis.call('HDEL', groups .. parent, name)
end

local function drop(prefix)
    truncate(prefix, 0)
    redis.call('DEL', prefix .. 'index')
    local hash, fields = hash_of(prefix)
    for _, name in ipairs(state_fields) do redis.call('HDEL', hash, fields .. name) end
end

-- The records of a removed series in a cluster, where its hierarchy is in another slot.
function changes.drop()
    local prefix = take()
    todo[#todo + 1] = function() drop(prefix) end
end

function changes.remove()
    local key = take()
    if not node_at(key) then refuse('nothing', key, '') end
    local found = keys_within(key)
    for _, within in ipairs(found) do node_at(within) end
    todo[#todo + 1] = function()
        raise_cut_base()
        if node_at(key).node == 'series' then release_above(key) end
        for _, within in ipairs(found) do
            local is = node_at(within) or {}
            if is.node == 'group' then release(within) end
            if is.node == 'value' then unlink(values, is.frame, is.parts) end
            if is.node == 'series' and series ~= '' then
                drop(prefix_of(within, is))
            elseif is.node == 'series' then
                -- The numbers of its commits stay on another node.
                redis.call('HSET', string.gsub(nodes, 'nodes$', 'removed'), within, '')
            end
        end
        forget(found)
    end
end

-- Renames the keys of a series.
local function move_series(from, to, base)
    local index, after = from .. 'index', '-'
    while true do
        local entries = redis.call('XRANGE', index, after, '+', 'COUNT', 100)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do
            local fields = fields_of(entry)
            local parts = tonumber(fields.p)
            for part = 0, parts - 1 do
                local name = part_name(fields.f, parts, part)
                -- A frame that was cut may be in the index twice.
                if redis.call('EXISTS', from .. name) == 1 then
                    redis.call('RENAME', from .. name, to .. name)
                end
            end
        end
        after = '(' .. entries[#entries][1]
    end
    if redis.call('EXISTS', index) == 1 then redis.call('RENAME', index, to .. 'index') end
    local old, fields = hash_of(from)
    local new, new_fields = hash_of(to)
    for _, name in ipairs(state_fields) do
        local value = redis.call('HGET', old, fields .. name)
        if value then redis.call('HSET', new, new_fields .. name, value) end
        redis.call('HDEL', old, fields .. name)
    end
    if redis.call('EXISTS', new) == 1 then redis.call('HSET', new, new_fields .. 'cuts', int(base)) end
end

function changes.rename()
    local from, to = take(), take()
    local is, there = node_at(from), node_at(to)
    if not is then refuse('nothing', from, '') end
    if there then refuse('there', to, tostring(there.node)) end
    local found = keys_within(from)
    for _, within in ipairs(found) do
        local new = to .. string.sub(within, #from + 1)
        local document = node_at(within) or {}
        if series ~= '' and document.node == 'series' and state_at(prefix_of(new, document)) then
            refuse('corrupt', new, 'two keys have the same hash')
        end
    end
    if is.node == 'series' then check_claim(to) end
    create(to, tostring(is.node), redis.call('HGET', nodes, from))
    todo[#todo + 1] = function()
        local base = raise_cut_base()
        if is.node == 'series' then release_above(from) end
        for _, within in ipairs(found) do
            local new = to .. string.sub(within, #from + 1)
            -- In a cluster, the claim ends: the keys that its series would share are in another
            -- slot.
            if held[within] and series ~= '' then
                redis.call('HSET', claims, new, redis.call('HGET', claims, within))
            end
            release(within)
            local document = redis.call('HGET', nodes, within)
            if document then
                local decoded = cjson.decode(document)
                if decoded.node == 'series' then
                    move_series(prefix_of(within, decoded), prefix_of(new, decoded), base)
                end
                redis.call('HSET', nodes, new, document)
            end
            local text = redis.call('HGET', attributes, within)
            if text then redis.call('HSET', attributes, new, text) end
            if redis.call('EXISTS', groups .. within) == 1 then
                redis.call('RENAME', groups .. within, groups .. new)
            end
        end
        forget(found)
    end
end

local decided, refusal = pcall(function()
    while at <= #ARGV do changes[take()]() end
    for _, freed in pairs(freed_groups) do free_beside(unpack(freed)) end
end)
if not decided then
    if type(refusal) == 'table' and refusal.refused then return refusal.refused end
    if type(refusal) == 'table' then return refusal end
    return redis.error_reply(tostring(refusal))
end
if number > 0 then
    redis.call('HSET', commits, writer, ARGV[4])
end
for _, step in ipairs(todo) do
    if type(step) == 'function' then step() else redis.call(unpack(step)) end
end
for prefix, state in pairs(states) do
    if state.changed then
        local hash, fields = hash_of(prefix)
        redis.call('HSET', hash, fields .. 'records', state.records, fields .. 'first',
            int(state.first), fields .. 'end', int(state.last), fields .. 'cuts', int(state.cuts))
        if state.filled then redis.call('HSET', hash, fields .. 'filled', int(state.filled)) end
    end
end
return {'done', number}
