// The switch of language leads to the heading that is being read.
for (const link of document.querySelectorAll("a.language")) {
  link.addEventListener("click", () => {
    const above = [...document.querySelectorAll("article section[id]")].filter(
      (section) => section.getBoundingClientRect().top < innerHeight / 3,
    );
    link.hash = scrollY > 0 && above.length ? above.at(-1).id : "";
  });
}

// A file cannot read another one: results of the search have no excerpts then.
if (location.protocol === "file:" && window.DOCUMENTATION_OPTIONS) DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
