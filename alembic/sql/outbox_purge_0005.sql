-- Deletes at most `p_most` messages that have been dead for more than `p_days` days; returns how many.
create function fanfold.outbox_purge(p_days double precision, p_most integer default 1000) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  gone integer;
begin
  delete from fanfold.outbox t
   using (select d.tenant_id, d.id from fanfold.outbox d
           where d.dead_at < now() - make_interval(secs => p_days * 86400)
           order by d.dead_at limit p_most for update skip locked) d
   where t.tenant_id = d.tenant_id and t.id = d.id;
  get diagnostics gone = row_count;
  return gone;
end
$function$
