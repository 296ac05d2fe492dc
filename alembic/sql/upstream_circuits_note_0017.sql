-- Writes how circuits of a process have changed, all at once; returns how many messages it wrote into the outbox.
--
-- Ages in seconds, since only this clock is everybody's. p_retry_in_s null: the circuit has closed. p_is_first: it was
-- closed before. One outage is told once: not where the upstream is open in another process too, nor within ten minutes of
-- the last message. For that a row stays ten minutes after its end.
create function fanfold.upstream_circuits_note(
  p_process uuid, p_tenants uuid[], p_upstreams uuid[], p_slugs text[], p_opened_ago_s double precision[],
  p_retry_in_s double precision[], p_lasts_s double precision[], p_is_first boolean[]) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  change record;
  is_told boolean;
  told integer := 0;
begin
  -- Two processes that open at one moment must see each other; changes are too rare for a lock of their own each.
  perform pg_advisory_xact_lock(hashtextextended('fanfold.upstream_circuits_note', 0));
  delete from fanfold.upstream_circuits t
   where t.ctid = any (array(select o.ctid from fanfold.upstream_circuits o
                              where o.expires_at < now() - interval '10 minutes' limit 1000));
  for change in
    select * from unnest(p_tenants, p_upstreams, p_slugs, p_opened_ago_s, p_retry_in_s, p_lasts_s, p_is_first)
                  c (tenant_id, upstream_id, slug, opened_ago_s, retry_in_s, lasts_s, is_first)
  loop
    if change.retry_in_s is null then
      update fanfold.upstream_circuits t set expires_at = least(t.expires_at, now())
       where t.tenant_id = change.tenant_id and t.upstream_id = change.upstream_id and t.process_id = p_process;
      continue;
    end if;
    is_told := change.is_first and not exists (
      select from fanfold.upstream_circuits t
       where t.tenant_id = change.tenant_id and t.upstream_id = change.upstream_id
         and (t.told_at > now() - interval '10 minutes' or (t.expires_at > now() and t.process_id <> p_process)));
    insert into fanfold.upstream_circuits as t
           (tenant_id, upstream_id, process_id, opened_at, retry_at, expires_at, told_at)
    values (change.tenant_id, change.upstream_id, p_process, now() - make_interval(secs => change.opened_ago_s),
            now() + make_interval(secs => change.retry_in_s), now() + make_interval(secs => change.lasts_s),
            case when is_told then now() end)
        on conflict (tenant_id, upstream_id, process_id) do update
       set opened_at = excluded.opened_at, retry_at = excluded.retry_at, expires_at = excluded.expires_at,
           told_at = coalesce(excluded.told_at, t.told_at);
    if is_told then
      told := told + 1;
      insert into fanfold.outbox (tenant_id, id, topic, payload)
      values (change.tenant_id, gen_random_uuid(), 'upstream.circuit_opened',
              jsonb_build_object(
                'tenant_id', change.tenant_id, 'upstream_id', change.upstream_id, 'upstream', change.slug,
                'opened_at', now() - make_interval(secs => change.opened_ago_s),
                'retry_at', now() + make_interval(secs => change.retry_in_s)));
    end if;
  end loop;
  return told;
end
$function$
