-- Phase: 3
-- Why: takes back 0022_create_documents.
-- Lock: ACCESS EXCLUSIVE on the dropped tables and, for their foreign keys, on public.users, to the end of the run.
-- Data loss: every row of public.documents, public.document_chunks.

drop table public.document_chunks;
drop table public.documents;

drop type public.documentstatus;
