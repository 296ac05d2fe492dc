-- Returns what process p_process may have of each of p_keys (all different) from now on: p_wanted slots, less what other
-- processes hold where that would be over the limit. Entered is never less than p_in_use, which requests have already.
create function fanfold.concurrency_exchange(
    p_process uuid, p_keys text[], p_limits integer[], p_in_use integer[], p_wanted integer[], p_lease_s double precision)
returns integer[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
    v_allowed integer[];
begin
    -- In one order for everybody, so that two exchanges never wait for each other.
    perform pg_advisory_xact_lock(ordered.lock)
       from (select distinct hashtextextended('concurrency:' || k.key, 0) as lock
               from unnest(p_keys) as k (key) order by 1) as ordered;
    -- A statement of its own: it sees what those have written who had the locks before.
    with asked as (
        select * from unnest(p_keys, p_limits, p_in_use, p_wanted) with ordinality as a (key, most, in_use, wanted, place)
    ), decided as (
        select a.place, a.key, a.in_use, greatest(0, least(a.wanted, a.most - coalesce(o.held, 0)))::integer as allowed
          from asked as a
          left join lateral (
              select sum(l.held) as held
                from fanfold.concurrency_leases as l
               where l.key = a.key and l.process_id <> p_process and l.expires_at > clock_timestamp()) as o on true
    ), written as (
        insert into fanfold.concurrency_leases as l (key, process_id, held, expires_at)
        select d.key, p_process, greatest(d.in_use, d.allowed), clock_timestamp() + make_interval(secs => p_lease_s)
          from decided as d
            on conflict (key, process_id) do update set held = excluded.held, expires_at = excluded.expires_at
    )
    select coalesce(array_agg(d.allowed order by d.place), '{}') into v_allowed from decided as d;
    return v_allowed;
end
$f$
