-- Removes at most p_most jobs whose time is over, and parts of input that never became a job; returns how many.
create function fanfold.jobs_purge(p_most integer, p_before uuid) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  many integer := 0;
  others integer;
  r record;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.jobs_purge', 0)) then
    return 0;
  end if;
  -- All jobs are locked first, then what their tenants store, in the tenants' order: as jobs_commit does. Who holds one of
  -- them deletes it, or lets it run again: neither is waited for.
  for r in select x.tenant_id, x.id
             from (select t.tenant_id, t.id from fanfold.jobs t
                    where t.expires_at <= now() and t.ended_at is not null order by t.expires_at limit p_most
                      for update skip locked) x order by 1, 2
  loop
    many := many + (fanfold.job_delete(r.tenant_id, r.id) = 'ok')::integer;
  end loop;
  -- The id says when it began to come in.
  delete from fanfold.job_parts t
   where ctid = any (array(select p.ctid from fanfold.job_parts p
                            where p.job_id < p_before
                              and not exists (select from fanfold.jobs j where j.tenant_id = p.tenant_id and j.id = p.job_id)
                            limit p_most));
  get diagnostics others = row_count;
  return many + others;
end
$f$
