// The switch of language leads to the section that is being read: the last one that begins above the place to which a
// link to a section scrolls it, below the header of a narrow page.
for (const link of document.querySelectorAll("a.language")) {
  link.addEventListener("click", () => {
    const place = 50 + document.querySelector(".mobile-header").offsetHeight;
    const above = [...document.querySelectorAll("article section[id]")].filter(
      (section) => section.getBoundingClientRect().top < place,
    );
    link.hash = scrollY > 0 && above.length ? above.at(-1).id : "";
  });
}

// What is wider than its box can be scrolled by keyboard.
const reachByKeyboard = () => {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, .cell_output, .output.text_html")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
addEventListener("load", reachByKeyboard);
addEventListener("resize", reachByKeyboard);
document.addEventListener("toggle", reachByKeyboard, true);

// A file cannot read another one: without a server, what is found has no excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
