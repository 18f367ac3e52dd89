-- name: last_line
-- Not by a look into every month's lines: the newest one may be of a call of any month.
SELECT seq, chain FROM newest_line WHERE id = 1 AND seq > 0;
