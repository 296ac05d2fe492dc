-- Deletes deliveries, with their attempts, that are older than `p_days` days, and of each tenant the oldest that have
-- ended beyond `p_kept`; at most `p_most` of each at a call. Returns how many went, and 0 where another process is at it.
create function fanfold.webhook_purge(p_now timestamptz, p_days integer, p_kept integer, p_most integer) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  old bigint;
  many bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.webhook_purge', 0)) then
    return 0;
  end if;
  delete from fanfold.webhook_deliveries d
   using (select o.tenant_id, o.id from fanfold.webhook_deliveries o
           where o.created_at < p_now - make_interval(days => p_days)
           order by o.created_at limit p_most for update skip locked) o
   where d.tenant_id = o.tenant_id and d.id = o.id;
  get diagnostics old = row_count;
  delete from fanfold.webhook_deliveries d
   using (select e.tenant_id, e.id
            from (select t.tenant_id from fanfold.webhook_deliveries t group by t.tenant_id
                  having count(*) > p_kept) full_log
           cross join lateral (
                 select o.tenant_id, o.id from fanfold.webhook_deliveries o
                  where o.tenant_id = full_log.tenant_id and o.status <> 'pending'
                  order by o.id desc offset p_kept) e
           limit p_most) o
   where d.tenant_id = o.tenant_id and d.id = o.id;
  get diagnostics many = row_count;
  return old + many;
end
$function$
