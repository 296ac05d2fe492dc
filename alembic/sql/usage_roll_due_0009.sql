-- The next hour that is over by a margin: a flush of the ledger ends within 5 s, and clocks are set back by less.
-- Without arguments, so that the serving role may call it and roll nothing that is not over.
create function fanfold.usage_roll_due() returns boolean
language sql security definer
set search_path = pg_catalog, pg_temp
as $function$
  select fanfold.usage_roll(now() - interval '1 minute')
$function$
