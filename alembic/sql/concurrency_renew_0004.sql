-- Prolongs what p_process holds of p_keys; returns the keys whose lease had not ended. The others are to be asked for
-- anew: their slots may be somebody else's by now.
create function fanfold.concurrency_renew(p_process uuid, p_keys text[], p_lease_s double precision)
returns text[]
language sql security definer set search_path = pg_catalog, pg_temp as $f$
    with renewed as (
        update fanfold.concurrency_leases as l
           set expires_at = clock_timestamp() + make_interval(secs => p_lease_s)
         where l.key = any (p_keys) and l.process_id = p_process and l.expires_at > clock_timestamp()
        returning l.key
    )
    select coalesce(array_agg(r.key), '{}') from renewed as r
$f$
