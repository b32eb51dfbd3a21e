-- What a published image looks like, as JSON. Null where it is no image that was encoded anew.
alter table sessions add column published_image text;
