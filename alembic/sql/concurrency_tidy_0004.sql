-- Deletes some of the rows whose lease ended long ago. Who is writing one of them has it: it is skipped.
create function fanfold.concurrency_tidy(p_most integer, p_after_s double precision)
returns integer
language sql security definer set search_path = pg_catalog, pg_temp as $f$
    with ended as (
        select l.key, l.process_id
          from fanfold.concurrency_leases as l
         where l.expires_at < clock_timestamp() - make_interval(secs => p_after_s)
         limit p_most
           for update skip locked
    ), deleted as (
        delete from fanfold.concurrency_leases as l using ended as e
         where l.key = e.key and l.process_id = e.process_id
        returning 1
    )
    select count(*)::integer from deleted
$f$
